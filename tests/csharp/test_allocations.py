"""What runs in every frame allocates no managed memory: shown on the compiled instructions, not on the source."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.csharp.conftest import Assemblies, EngineAssemblies
from tests.csharp.toolchain import UNITY_DEFINES, must_compile, run, sources_of

EVERY_FRAME = (
    "StyleTransferCamera::OnRenderImage",
    "StyleTransferCamera::LateUpdate",
    "StyleTransferCamera::PrepareMask",
    "StyleTransferCamera::SetCopies",
    "StyleTransferCamera::Record",
    "StyleTransferCamera::Of",
    "StyleTransferRunner::Stylize",
)

# Methods that run when something changed or failed, not in every frame, are named after what they do.
SELDOM = re.compile(r"::(Allocate|Release|Report)|::(Dispose|Describe|Compute|ComputeNumbers|OnEnable)$|^Packed")

# A call of another assembly that returns new managed memory.
ALLOCATING_CALL = re.compile(
    r"::(Concat|Format|ToString|GetPixels\w*|ToReadOnlyArray|Download|get_name|get_textures|Find\w*|ToArray|ToList"
    r"|GetComponents\w*|GetType|Clone|DeepCopy|CopyOutput)\("
)


def methods_of(assembly: Path, *libraries: Path) -> dict[str, list[str]]:
    """The instructions, as monodis prints them, of all overloads of each `Class::Method`."""
    done = run("monodis", assembly, libraries=libraries)
    assert done.returncode == 0, done.stderr
    methods: dict[str, list[str]] = defaultdict(list)
    body: list[str] = []
    for line in done.stdout.splitlines():
        end = re.search(r"// end of method (\S+)", line)
        instruction = re.match(r"\s*IL_[0-9a-f]{4}:\s+(.*)", line)
        if end:
            methods[end[1]] += body
            body = []
        elif instruction:
            body.append(instruction[1].strip())
    return dict(methods)


def called(instruction: str, methods: dict[str, list[str]]) -> list[str]:
    """The methods of this assembly that an instruction may enter: of a virtual call, every override."""
    target = (
        r"(call|callvirt)\s.*?(?:class|valuetype)\s+(?:\[[\w.]+\])?StyleTransfer\.(?:\w+\.)*(\w+?)::'?([\w.]+)'?\("
    )
    match = re.match(target, instruction)
    if not match:
        return []
    verb, owner, name = match.groups()
    if verb == "callvirt":
        return [method for method in methods if method.endswith(f"::{name}")]
    return [f"{owner}::{name}"]


def allocations(methods: dict[str, list[str]], roots: Sequence[str] = EVERY_FRAME) -> tuple[set[str], list[str]]:
    """All methods that a frame reaches, and what in them allocates."""
    pending, reached, found = list(roots), set(), []
    while pending:
        method = pending.pop()
        if method in reached or method not in methods or SELDOM.search(method):
            continue
        reached.add(method)
        for instruction in methods[method]:
            word = instruction.split()[0]
            if (
                word in ("box", "newarr", "ldftn", "ldvirtftn")
                or (word == "newobj" and not re.search(r" valuetype |Exception::", instruction))
                or (word in ("call", "callvirt") and ALLOCATING_CALL.search(instruction))
            ):
                found.append(f"{method}: {instruction}")
            pending += called(instruction, methods)
    return reached, found


def test_a_frame_allocates_nothing(shared: Assemblies) -> None:
    reached, found = allocations(methods_of(shared.runtime, shared.folder))
    assert found == []
    # The scan went where the work is.
    assert reached >= {
        *EVERY_FRAME,
        "StyleTransferEffect::Update",
        "StyleTransferEffect::Observe",
        "StyleTransferEffect::Run",
        "StyleTransferEffect::Compose",
        "StyleSet::Update",
        "StyleVectors::Prepare",
        "StyleVectors::Write",
        "Reprojection::Update",
        "Reprojection::Accumulate",
        "Reprojection::Begin",
        "Reprojection::Move",
        "Interpolation::Update",
        "Interpolation::Finish",
        "Interpolation::Advance",
        "Interpolation::Draw",
        "FrameTextures::Prepare",
        "FrameTextures::Of",
        "FrameRateGovernor::Tick",
        "ObjectMask::Prepare",
        "ObjectMask::Draw",
        "EyeDepth::Of",
        "GuidePainter::Draw",
        "GuideLayout::SceneRows",
        "Painter::Draw",
        "StyleTransferRunner::Prepare",
        "StyleTransferRunner::Begin",
        "StyleTransferRunner::Advance",
        "RunSchedule::AdvanceShare",
        "RunSchedule::AdvanceWithin",
        "LayerTimer::Wait",
        "LayerBudget::Learn",
        "PictureConverter::SetToNetwork",
        "PictureConverter::SetFromNetwork",
        "StyleTransferModel::FitSize",
        "WorkingSize::Fit",
    }


EVERY_RUN = re.compile(r"^\w+Network::(get_(Input|Progress|IsWaiting|CanRecord)|Begin|RunLayer|Finish|Record)$")


def test_a_run_of_an_engine_allocates_nothing(engine: EngineAssemblies) -> None:
    if engine.engine.folder is None:
        pytest.skip("the made-up engine is not ours to keep lean")
    methods = methods_of(engine.own, engine.folder)
    roots = [name for name in methods if EVERY_RUN.match(name)]
    assert len(roots) >= 5
    reached, found = allocations(methods, roots)
    assert found == []
    assert reached >= REACHED.get(engine.engine.name, set())
    assert_nothing_is_made_in_between(methods)


REACHED = {
    "compute": {
        "ComputeNetwork::Record",
        "ComputeNetwork::Set",
        "ComputeBuffers::Take",
        "ComputeBuffers::GiveBack",
    },
    "barracuda": {
        "TextureExchange::Load",
        "TextureExchange::Show",
        "TextureExchange::DrawTensor",
        "ArrayExchange::PixelsToValues",
        "ArrayExchange::ValuesToPixels",
    },
    "inference": {
        "ComputeExchange::RecordLoad",
        "ComputeExchange::RecordShow",
        "PixelExchange::Show",
        "MemoryExchange::EndLoad",
        "MemoryExchange::PixelsToValues",
        "MemoryExchange::ValuesToPixels",
        "InferenceNetwork::Execute",
    },
}
"""What the scan of an engine must have gone through, where methods beside those of its network are called."""


def test_textures_tensors_and_materials_are_made_in_allocating_methods_only(shared: Assemblies) -> None:
    methods = methods_of(shared.runtime, shared.folder)
    owners = {
        name.partition("::")[0] for name in methods if re.search("::(Allocate|Release|Report)|::Dispose$", name)
    }
    assert owners == {
        "CameraCopies",
        "FrameTextures",
        "GuidePainter",
        "Interpolation",
        "LayerTimer",
        "ObjectMask",
        "PictureConverter",
        "Reprojection",
        "RunSchedule",
        "StyleSet",
        "StyleTransferCamera",
        "StyleTransferEffect",
        "StyleTransferModel",
        "StyleTransferNetwork",
        "StyleTransferRunner",
        "StyleVectors",
        "Textures",
    }
    assert_nothing_is_made_in_between(methods)


def assert_nothing_is_made_in_between(methods: dict[str, list[str]]) -> None:
    """Everything that must be freed is made in methods that run when something changes."""
    kinds = r"RenderTexture|Texture2D|Material|Tensor(`1<\w+>)?|AsTensorData|Worker|CommandBuffer|Runner"
    making = {
        name for name, body in methods.items() if any(re.match(f"newobj .*({kinds})::", line) for line in body)
    }
    assert making and all(SELDOM.search(name) for name in making)


@pytest.mark.parametrize(
    "statement",
    [
        "var waste = new float[3];",
        "object waste = size.Width;",
        "var waste = new System.Collections.Generic.List<int>();",
        'var waste = "run " + size.Width;',
        "System.Func<int> waste = () => size.Width;",
    ],
)
def test_the_scan_sees_every_kind_of_allocation(shared: Assemblies, tmp_path: Path, statement: str) -> None:
    changed = tmp_path / "StyleTransferRunner.cs"
    text = next(path for path in sources_of("Runtime") if path.name == changed.name).read_text()
    before = "        if (size.Width != _size.Width || size.Height != _size.Height) AllocateBuffers"
    assert before in text
    changed.write_text(text.replace(before, f"        {statement}\n        waste.GetHashCode();\n{before}"))
    sources = [path for path in sources_of("Runtime") if path.name != changed.name] + [changed]
    library = must_compile(tmp_path / "Wasteful.dll", sources, [shared.unity], UNITY_DEFINES)
    assert allocations(methods_of(library, shared.folder))[1] != []
