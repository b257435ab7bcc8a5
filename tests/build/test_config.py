"""pipeline.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.build.config import Job, check_jobs, load_jobs
from pipeline.support.errors import PipelineError


def write(folder: Path, text: str) -> Path:
    path = folder / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_models_inherit_the_defaults_and_win_over_them(tmp_path):
    path = write(
        tmp_path,
        """
        [build-unity]
        target = "barracuda-2.0"
        project = "Game"
        [[models]]
        source = "a.pth"
        [[models]]
        source = "b.onnx"
        name = "Other"
        target = "barracuda-1.0"
        input-range = "0..255"
        """,
    )
    first, second = load_jobs(path, {})
    assert first == Job(tmp_path / "a.pth", None, None, tmp_path / "Game", {"target": "barracuda-2.0"})
    assert second.name == "Other"
    assert second.options == {"target": "barracuda-1.0", "input_range": "0..255"}


def test_options_of_the_command_line_win(tmp_path):
    path = write(tmp_path, '[[models]]\nsource = "a.pth"\ntarget = "barracuda-1.0"\noutput = "x"\n')
    (job,) = load_jobs(path, {"target": "barracuda-3.0"}, project=Path("P"))
    assert job.options["target"] == "barracuda-3.0"
    assert (job.output, job.project) == (None, Path("P"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[models]\n", "not valid TOML"),
        ("", "models"),
        ("models = 3", "models"),
        ("[[models]]\nname = 'A'\n", "models[1].source"),
        ("[[models]]\nsource = 'a'\ntarjet = 'x'\n", "did you mean target"),
        ("[[models]]\nsource = 3\n", "models[1].source has the wrong type"),
        ("[other]\n", "other"),
        ("build-unity = 1\n[[models]]\nsource='a'\n", "build-unity"),
    ],
)
def test_a_wrong_file_is_one_error_that_names_the_key(tmp_path, text, named):
    with pytest.raises(PipelineError) as caught:
        load_jobs(write(tmp_path, text), {})
    assert caught.value.code == "bad-config"
    assert named in str(caught.value)


def test_no_source_and_no_file_says_what_to_do(tmp_path):
    with pytest.raises(PipelineError) as caught:
        load_jobs(tmp_path / "pipeline.toml", {})
    assert caught.value.code == "nothing-to-build"


def test_two_models_of_one_name_are_refused():
    with pytest.raises(PipelineError) as caught:
        check_jobs([Job(Path("a/mosaic.pth")), Job(Path("b/mosaic.onnx"))])
    assert caught.value.code == "duplicate-name"
    check_jobs([Job(Path("a/mosaic.pth")), Job(Path("b/mosaic.onnx"), name="Other")])


@pytest.mark.parametrize("place", ["../elsewhere", "a/../../elsewhere", "ABSOLUTE", "link", "link/x"])
@pytest.mark.parametrize("key", ["output", "project"])
def test_a_place_outside_of_the_files_folder_is_refused_but_for_the_command_line(tmp_path, key, place):
    folder, outside = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside, target_is_directory=True)
    place = place.replace("ABSOLUTE", outside.as_posix())
    path = write(folder, f'[[models]]\nsource = "a.pth"\n{key} = "{place}"\n')
    with pytest.raises(PipelineError) as caught:
        load_jobs(path, {})
    assert (caught.value.code, key in caught.value.message) == ("outside-of-folder", True)
    assert load_jobs(path, {}, **{key: outside})[0].source == folder / "a.pth"


@pytest.mark.parametrize("place", ["out", "a/../out", "./x/y", "ABSOLUTE"])
def test_a_place_inside_is_taken(tmp_path, place):
    place = place.replace("ABSOLUTE", (tmp_path / "deep").as_posix())
    path = write(tmp_path, f'[[models]]\nsource = "a.pth"\noutput = "{place}"\n')
    assert load_jobs(path, {})[0].output is not None
