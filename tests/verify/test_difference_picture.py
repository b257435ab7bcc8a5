"""The picture of a difference, pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.verify.difference_picture import GAP, difference_map, difference_picture


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two 3x4 pictures: one place 10 levels apart in green, one 5 levels in blue."""
    a = np.full((1, 3, 3, 4), 100 / 255, np.float32)
    b = a.copy()
    b[0, 1, 0, 1] += 10 / 255
    b[0, 2, 2, 3] -= 5 / 255
    return a, b


def test_a_and_b_and_their_amplified_difference_lie_side_by_side(pair):
    content, factor = difference_picture(*pair)
    seen = pixels(content)
    assert seen.shape == (3, 4 * 3 + GAP * 2, 3)
    first, second, third = seen[:, :4], seen[:, 4 + GAP : 8 + GAP], seen[:, 8 + 2 * GAP :]
    assert (first == 100).all()
    assert second[0, 1].tolist() == [100, 110, 100] and second[2, 3].tolist() == [100, 100, 95]
    assert (seen[:, 4 : 4 + GAP] == 255).all() and (seen[:, 8 + GAP : 8 + 2 * GAP] == 255).all()
    assert factor == pytest.approx(25.5, rel=1e-4)
    assert third[0, 1].tolist() == [255] * 3 and third[2, 3].tolist() in ([127] * 3, [128] * 3)
    third = third.copy()
    third[0, 1] = third[2, 3] = 0
    assert not third.any()


def test_equal_pictures_have_a_black_difference_and_no_factor(pair):
    content, factor = difference_picture(pair[0], pair[0])
    assert factor is None and not pixels(content)[:, 8 + 2 * GAP :].any()


def test_the_same_pictures_give_the_same_bytes(pair):
    assert difference_picture(*pair) == difference_picture(*pair)


def test_a_mask_is_shown_grey_and_nan_as_the_largest_difference():
    a = np.zeros((1, 1, 2, 2))
    b = np.array([[0.5, np.nan], [2.0, 0.0]]).reshape(1, 1, 2, 2)
    content, factor = difference_picture(a, b)
    third = pixels(content)[:, 4 + 2 * GAP :, 0]
    assert factor == 1 and third.tolist() == [[128, 255], [255, 0]]


def test_other_shapes_are_refused(pair):
    with pytest.raises(ValueError, match="shapes"):
        difference_picture(pair[0], pair[1][:, :1])


def test_against_the_bar_white_is_the_bar_and_noise_is_black() -> None:
    a = np.zeros((1, 3, 2, 2))
    b = a.copy()
    b[0, 1, 0, 0] = 0.5 / 255
    b[0, 2, 0, 1] = 0.25 / 255
    b[0, 0, 1, 0] = 0.03 / 255
    shown = np.asarray(Image.open(io.BytesIO(difference_map(a, b, 0.5))))
    assert shown.tolist() == [[255, 128], [0, 0]]
    b[0, 0, 1, 1] = np.nan
    assert np.asarray(Image.open(io.BytesIO(difference_map(a, b, 0.5))))[1, 1] == 255
    with pytest.raises(ValueError, match="shapes"):
        difference_map(a, b[:, :, :1], 0.5)
