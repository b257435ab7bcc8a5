"""The generated C# runs, under mono, against stand-ins for Unity and for each Barracuda version."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.csharp.conftest import CASES_SOURCES, ENGINES, HERE, EngineAssemblies, ask


def names_of_cases(sources: list[Path]) -> set[str]:
    """The cases that stand in the sources."""
    return {
        case
        for source in sources
        for case in re.findall(
            r"^    public static void (\w+)\(\)$",
            source.read_text().partition("public static partial class Cases")[2],
            re.MULTILINE,
        )
    }


DRAWN = {
    "a_frame_rate_lowers_the_resolution_and_the_picture_stays",
    "between_key_pictures_each_frame_is_shown_late_and_whole",
    "between_key_pictures_one_becomes_the_other",
    "stability_calms_flicker_and_moves_with_the_scene",
}
"""Cases that draw hundreds of frames, seconds each: what is drawn is behind the engine, so its older versions go
without them."""
NEWEST = {engine.name: engine for engine in ENGINES}


def test_the_runtime_works_with_each_engine(cases: Path, engine: EngineAssemblies) -> None:
    left_out = set() if engine.engine in NEWEST.values() else DRAWN
    outcomes = dict(line.split("\t", 1) for line in ask(cases, *sorted(left_out)))
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "ok"} == {}
    expected = names_of_cases([*CASES_SOURCES, HERE / f"{engine.engine.rig}.cs"])
    assert len(expected) > 50 and expected >= DRAWN and set(outcomes) == expected - left_out


def working_size(width: int, height: int, target: int, multiple: int) -> tuple[int, int]:
    """What WorkingSize.Fit promises, once more."""
    lines = min(max(target, 1), height)
    columns = width * lines / height
    smallest = math.ceil(16 / multiple) * multiple

    def nearest(extent: float) -> int:
        return max(math.floor(extent / multiple + 0.5) * multiple, smallest)

    return nearest(columns), nearest(lines)


KNOWN_SIZES = {
    (1920, 1080, 540, 4): (960, 540),
    (1920, 1080, 540, 8): (960, 544),
    (1280, 720, 540, 4): (960, 540),
    (1366, 768, 540, 4): (960, 540),
    (2560, 1080, 540, 4): (1280, 540),
    (1080, 1920, 540, 4): (304, 540),
    (1440, 1080, 540, 4): (720, 540),
    (640, 480, 540, 4): (640, 480),
    (641, 479, 540, 4): (640, 480),
    (1920, 1080, 1, 4): (16, 16),
    (3, 2, 540, 4): (16, 16),
    (1920, 1080, -7, 0): (16, 16),
    (1920, 1080, 540, 32): (960, 544),
}


def test_working_sizes_are_those_that_we_know(program: Path) -> None:
    given = "".join(" ".join(map(str, key)) + "\n" for key in KNOWN_SIZES)
    got = [tuple(map(int, line.split())) for line in ask(program, "sizes", stdin=given)]
    assert got == list(KNOWN_SIZES.values())


def test_working_sizes_keep_the_aspect_at_any_size(program: Path) -> None:
    keys = [
        (width, height, target, multiple)
        for width in range(97, 4000, 331)
        for height in range(61, 2300, 277)
        for target in (33, 240, 540, 719, 2160)
        for multiple in (1, 4, 8, 32)
    ]
    got = ask(program, "sizes", stdin="".join(" ".join(map(str, key)) + "\n" for key in keys))
    for key, line in zip(keys, got, strict=True):
        assert tuple(map(int, line.split())) == working_size(*key), key


def test_workers_are_chosen_for_wish_and_machine(cases: Path, engine: EngineAssemblies) -> None:
    if engine.engine.name != "barracuda":
        pytest.skip("the workers of Barracuda")
    modern = engine.engine.version == "3.0.0"
    rows = [line.split("\t") for line in ask(cases, "workers")]
    assert len(rows) == 6 * 4
    numbers = {}
    for wish_number, compute, graphics, worker, note in rows:
        requested, _, number = wish_number.partition("=")
        numbers[requested] = int(number)
        if requested.startswith("CSharp") or (requested == "PixelShader" and modern and graphics == "True"):
            expected, granted = requested, True
        elif compute == "True":
            expected = "Compute" if requested == "Compute" else "ComputePrecompiled"
            granted = requested != "PixelShader" or modern
        else:
            expected = "PixelShader" if modern and graphics == "True" else "CSharpBurst"
            granted = False
        assert worker == expected, (requested, compute, graphics)
        assert (note == "") is granted, (requested, compute, graphics, note)
    assert numbers == {
        "Auto": 0,
        "ComputePrecompiled": 1,
        "Compute": 2,
        "PixelShader": 3,
        "CSharpBurst": 4,
        "CSharp": 5,
    }


def test_workers_of_inference_engine_never_read_back(cases: Path, engine: EngineAssemblies) -> None:
    if engine.engine.name != "inference":
        pytest.skip("the workers of Sentis and Inference Engine")
    rows = [line.split("\t") for line in ask(cases, "workers")]
    assert len(rows) == 6 * 4
    backends = {"Compute": "GPUCompute", "PixelShader": "GPUPixel", "CSharpBurst": "CPU"}
    for requested, compute, graphics, worker, backend, note in rows:
        if requested.startswith("CSharp"):
            expected = "CSharpBurst"
        elif compute == "True":
            expected = "Compute"  # also for pixel shaders, which would be fed by way of the CPU
        else:
            expected = "PixelShader" if graphics == "True" else "CSharpBurst"
        assert (worker, backend) == (expected, backends[expected]), (requested, compute, graphics)
        assert (note == "") is (requested == worker or (requested == "Auto" and worker == "Compute")), (
            requested,
            note,
        )
