"""The scripts of the demo scene compile as their assemblies do, and move and set what they say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pipeline.support.resources import resource
from tests.csharp.conftest import EngineAssemblies, ask
from tests.csharp.toolchain import STUBS, UNITY_DEFINES, must_compile

DEMO = resource("UnityProject") / "Assets" / "Demo"
SOURCE = Path(__file__).with_name("DemoCases.cs")
LEGACY_INPUT = "ENABLE_LEGACY_INPUT_MANAGER"
INPUT_SYSTEM = ("ENABLE_INPUT_SYSTEM", "STYLETRANSFER_INPUT_SYSTEM")


@pytest.fixture(scope="module", params=["Input Manager", "Input System"])
def demo(request: pytest.FixtureRequest, fake: EngineAssemblies) -> Path:
    """Assembly-CSharp, the controls and their editor side, and the program that asks them."""
    folder = fake.folder
    engine, editor = folder / "UnityEngine.dll", folder / "UnityEditor.dll"
    loose = must_compile(folder / "Assembly-CSharp.dll", sorted(DEMO.glob("*.cs")), [engine], UNITY_DEFINES)
    controls = sorted((DEMO / "Controls").glob("*.cs"))
    references = [engine, fake.runtime]
    # As in a project that uses the Input System without having its package, then with the keys.
    must_compile(folder / "StyleTransfer.Demo.dll", controls, references, (*UNITY_DEFINES, INPUT_SYSTEM[0]))
    defines = (LEGACY_INPUT,)
    if request.param == "Input System":
        package = must_compile(folder / "Unity.InputSystem.dll", [STUBS / "InputSystem.cs"], [engine])
        references, defines = [*references, package], (LEGACY_INPUT, *INPUT_SYSTEM)
    keys = must_compile(folder / "StyleTransfer.Demo.dll", controls, references, (*UNITY_DEFINES, *defines))
    references = [engine, editor, fake.runtime, keys]
    sources = sorted((DEMO / "Controls/Editor").glob("*.cs"))
    styles = must_compile(folder / "StyleTransfer.Demo.Editor.dll", sources, references, UNITY_DEFINES)
    references = [engine, editor, fake.runtime, loose, keys, styles]
    return must_compile(folder / "DemoCases.exe", [SOURCE], references, UNITY_DEFINES)


def test_the_camera_goes_round_and_comes_back_where_it_began(demo: Path) -> None:
    places = [tuple(map(float, line.split())) for line in ask(demo, "path", "2400")]  # 40 seconds
    steps = [math.dist(one, other) for one, other in zip(places, [*places[1:], places[0]], strict=True)]
    assert max(steps) < 0.04  # metres in a frame: no jump, also at the seam
    radii = [math.hypot(x, z) for x, _, z in places]
    heights = [y for _, y, _ in places]
    assert (min(radii), max(radii)) == pytest.approx((7.5, 10.5), abs=0.01)
    assert (min(heights), max(heights)) == pytest.approx((1.7, 3.5), abs=0.01)


def test_a_bobber_swings_about_where_it_was_put(demo: Path) -> None:
    heights = [float(line) for line in ask(demo, "bobber", "180")]  # 3 seconds
    assert heights[0] == 2 and (min(heights), max(heights)) == pytest.approx((1.5, 2.5), abs=1e-3)


def test_every_key_does_what_its_line_says_and_nothing_else(demo: Path) -> None:
    changes = [line.split("\t") for line in ask(demo, "keys")]
    reported = {key: rest for key, *rest in changes}
    assert len(reported) == len(changes)  # a key changes one line
    assert reported.keys() == {*"GHINPRTU", "UpArrow", "DownArrow", "LeftArrow"}  # stronger than 1 is none
    assert reported["T"] == ["T   style: on", "T   style: off"]
    assert reported["N"] == ["N   next style: First", "N   next style: Second"]
    assert (
        reported["U"][1].endswith(": 4")
        and reported["G"][1].endswith(": on")
        and reported["P"][1].endswith(": off")
    )
    assert reported["R"][1].endswith(": off") and reported["H"] == ["hidden"]
    assert reported["I"][0].endswith(": off") and reported["I"][1].endswith(": on, 0 frames late")
    assert (reported["UpArrow"][1][-3:], reported["DownArrow"][1][-3:]) == ("600", "540")
    assert reported["LeftArrow"][1][-4:] == "0.99"


def test_the_camera_chooses_from_the_styles_of_the_project(demo: Path) -> None:
    assert ask(demo, "styles") == ["1", "3"]


@pytest.mark.parametrize("path", sorted(DEMO.rglob("*.asmdef")), ids=lambda path: path.name)
def test_the_controls_need_no_inference_package(path: Path) -> None:
    asmdef = json.loads(path.read_text())
    assert asmdef["name"] == path.stem and asmdef["defineConstraints"] == []
    assert set(asmdef["references"]) <= {"StyleTransfer.Runtime", "StyleTransfer.Demo", "Unity.InputSystem"}
    if "Unity.InputSystem" in asmdef["references"]:
        assert [item["define"] for item in asmdef["versionDefines"]] == [INPUT_SYSTEM[1]]
