"""Several bound styles in one build: proven one by one and blended, for every family; in the bundle with names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import targets
from pipeline.sources import ports
from tests.cli.test_ports import by_number, by_picture, by_vector, given

RANGES = ("--input-range", "0..1", "--output-range", "0..1", "--size", "64x48")


def model_file(folder: Path, name: str) -> bytes:
    return next(
        path for suffix in (".onnx", ".bytes") if (path := folder / f"{name}{suffix}").is_file()
    ).read_bytes()


@pytest.mark.parametrize("target", ["barracuda-3.0", "barracuda-1.0", "inference-2", "sentis-2.1", "compute"])
def test_styles_are_one_network_that_blends(pipeline, tmp_path: Path, target: str) -> None:
    source = by_number(tmp_path / "net.onnx")
    bound = [word for style in (0, 3, 4) for word in ("--bind", f"style={style}")]
    done = pipeline("build-unity", source, *bound, *RANGES, "--target", target, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [item["name"] for item in report["styles"]] == ["style 0", "style 3", "style 4"]
    assert all(item["proof"]["would_have_passed_at"] < 0.1 for item in report["styles"])
    assert report["style_blend"]["would_have_passed_at"] < 0.1
    folder = Path("out/StyleTransfer/Models/Net")
    chosen = targets.get(target)
    run = chosen.family.style_runner(model_file(folder, "Net"), chosen)
    picture = np.random.default_rng(3).random((1, 3, 48, 64)).astype(np.float32)
    for number, style in enumerate((0, 3, 4)):
        expected = given(source, np.array([style]), picture)
        np.testing.assert_allclose(run(picture, np.eye(3)[number]), expected, atol=2e-4)
    asset = (folder / "Net.asset").read_text()
    (reported,) = (line.partition(": ")[2] for line in asset.splitlines() if "styleInput" in line)
    assert reported.strip("'\" ") == ("" if target == "compute" else "style_weights")
    assert "  styleNames:\n  - style 0\n  - style 3\n  - style 4\n" in asset
    goldens = [np.asarray(Image.open(folder / f"golden_output_{number}.png"), np.int16) for number in range(3)]
    assert asset.count("  - {fileID: 2800000") == 3 and (folder / "golden_output_2.png.meta").is_file()
    assert np.abs(goldens[0] - goldens[1]).max() > 2
    assert (goldens[0] == np.asarray(Image.open(folder / "golden_output.png"))).all()


def test_pictures_and_vectors_are_styles_too_and_the_cache_keeps_them(pipeline, tmp_path: Path) -> None:
    pictures = []
    for name in ("wave", "fire"):
        pictures.append(tmp_path / f"{name}.png")
        chance = np.random.default_rng(len(name))
        Image.fromarray(chance.integers(0, 255, (16, 24, 3), np.uint8)).save(pictures[-1])
    source = by_picture(tmp_path / "net.onnx")
    bound = [word for picture in pictures for word in ("--bind", f"style={picture}")]
    first = pipeline("build-unity", source, *bound, *RANGES, "-o", "out", "--json")
    assert first.code == 0, first.err
    assert [style["name"] for style in json.loads(first.out)["styles"]] == ["wave", "fire"]
    files = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    again = json.loads(pipeline("build-unity", source, *bound, *RANGES, "-o", "out2", "--json").out)
    assert again["cached"]
    assert {
        Path("out", *path.parts[1:]): path.read_bytes() for path in Path("out2").rglob("*") if path.is_file()
    } == files
    vectors = ("--bind", "style=1,0,0,0", "--bind", "style=0,1,2,-1", "--bind", "style=0,1,2,3")
    done = pipeline("build-unity", by_vector(tmp_path / "vector.onnx"), *vectors, *RANGES, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["styles"]) == 3


def test_values_of_one_style_belong_together() -> None:
    assert ports.styles(("style=a.png", "alpha=1", "style=b.png")) == [
        ("style=a.png", "alpha=1"),
        ("style=b.png", "alpha=1"),
    ]
    assert ports.styles(()) == [()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--bind", "style=1", "--bind", "style=2", "--bind", "x=1", "--bind", "x=2", "--bind", "x=3"),
            "bad-binding",
        ),
        (
            ("--bind", "style=1", "--bind", "style=2", "--weights", "int8", "--target", "compute"),
            "conflicting-options",
        ),
        (tuple(word for n in range(40) for word in ("--bind", f"style={n % 5}")), "bad-binding"),
    ],
)
def test_what_cannot_be_several_styles_is_told(pipeline, tmp_path: Path, words, told: str) -> None:
    done = pipeline("build-unity", by_number(tmp_path / "net.onnx"), *words, *RANGES, "-o", "out")
    assert done.code == 2 and f"[{told}]" in done.err and not Path("out").exists()


def test_convert_writes_one_style(pipeline, tmp_path: Path) -> None:
    source = by_number(tmp_path / "net.onnx")
    done = pipeline("convert", source, "--bind", "style=1", "--bind", "style=2")
    assert done.code == 2 and "only a bundle can contain several" in done.err


@pytest.mark.parametrize("words", [("--bind", "style=1", "--bind", "style=2"), ("--style-input", "style")])
def test_port_says_that_several_styles_need_their_source(pipeline, tmp_path: Path, words: tuple[str, ...]) -> None:
    source = by_number(tmp_path / "net.onnx")
    assert pipeline("build-unity", source, *words, *RANGES, "--target", "barracuda-3.0", "-o", "out").code == 0
    done = pipeline("port", "out", "--target", "inference-2")
    assert done.code == 2 and "[several-styles]" in done.err and "net.onnx" in done.err
    assert "barracuda-3.0" in Path("out/StyleTransfer/Models/Net/Net.asset").read_text()
