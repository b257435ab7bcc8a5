"""Training pictures: which are taken, and that crop n is crop n."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.shrink.data import Ahead, Crops, Pictures
from pipeline.support.errors import PipelineError
from pipeline.support.picture_files import picture_files


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (96, 80)), ("sub/b.JPG", (130, 70)), ("tiny.png", (40, 200))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_files_are_found_in_folders_in_order_and_can_be_left_out(folder):
    names = [file.name for file in picture_files([folder])]
    assert names == ["a.png", "b.JPG", "tiny.png"]
    assert [f.name for f in picture_files([folder, folder / "a.png"], [folder / "sub" / "b.JPG"])] == [
        "a.png",
        "tiny.png",
    ]


def test_small_pictures_are_left_out(folder):
    assert [file.name for file in Pictures(picture_files([folder])).files] == ["a.png", "b.JPG"]


@pytest.mark.parametrize(
    ("paths", "code"),
    [(["nowhere"], "file-not-found"), (["empty"], "no-pictures"), (["tiny.png"], "no-pictures")],
)
def test_nothing_to_learn_from_is_said(folder, paths, code):
    (folder / "empty").mkdir()
    with pytest.raises(PipelineError) as caught:
        Pictures(picture_files([folder / path for path in paths]))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("a.png", lambda item: b"\x89PNG nothing"),
        ("a.png", lambda item: item[: len(item) // 2]),
        ("a.png", lambda item: item[:60] + bytes(40) + item[100:]),
        ("sub/b.JPG", lambda item: item[: len(item) * 3 // 4]),
    ],
)
def test_a_broken_picture_is_named_before_the_work(folder, name, broken):
    """Their headers are whole but for the first: only decoding finds it."""
    (folder / name).write_bytes(broken((folder / name).read_bytes()))
    with pytest.raises(PipelineError, match=name) as caught:
        Pictures(picture_files([folder]))
    assert caught.value.code == "bad-picture"


@pytest.mark.parametrize("recolour", [True, False])
def test_a_batch_follows_from_seed_and_number_alone(folder, recolour):
    pictures = Pictures(picture_files([folder]))
    crops = Crops(pictures, 5, recolour=recolour)
    batches = {number: crops.batch(number, 3, 48, 64) for number in range(20)}
    assert all(b.shape == (3, 3, 48, 64) and b.dtype == np.uint8 for b in batches.values())
    again = Crops(Pictures(picture_files([folder])), 5, recolour=recolour)
    for number in reversed(range(20)):
        assert np.array_equal(again.batch(number, 3, 48, 64), batches[number])
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(Crops(pictures, 6, recolour=recolour).batch(0, 3, 48, 64), batches[0])


def test_a_crop_may_be_larger_than_the_picture(folder):
    crops = Crops(Pictures([folder / "a.png"]), 1)
    assert crops.batch(0, 8, 200, 152).shape == (8, 3, 200, 152)


def test_crops_without_recolouring_hold_the_pictures_colours(tmp_path):
    Image.new("RGB", (80, 80), (10, 200, 30)).save(tmp_path / "green.png")
    batch = Crops(Pictures([tmp_path / "green.png"]), 1, recolour=False).batch(0, 2, 64, 64)
    assert np.array_equal(batch, np.broadcast_to(np.uint8([10, 200, 30])[None, :, None, None], batch.shape))


def test_few_decoded_pictures_are_kept(folder, monkeypatch):
    monkeypatch.setattr("pipeline.shrink.data.CACHE_PIXELS", 8000)
    pictures = Pictures(picture_files([folder]))
    first = pictures[0]
    assert pictures[0] is first
    assert pictures[1].size == (130, 70)
    assert pictures[0] is not first


@pytest.mark.parametrize("threads", [0, 2])
def test_what_is_made_ahead_is_what_was_asked_for(threads):
    ahead = Ahead(lambda number: np.full(2, number), threads)
    assert [int(ahead.get(number)[0]) for number in (0, 1, 2, 3, 7, 8, 30)] == [0, 1, 2, 3, 7, 8, 30]
