"""TorchScript and torch.export archives."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.sources import ReadOptions, read, reference
from pipeline.sources.programs import read_exported, read_torchscript
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

DECLARED = ReadOptions(input_range="0..1", output_range="0..1")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 1, 3, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return self.last(nn.functional.interpolate(y, scale_factor=2.0))


WEIGHTS = 3 * 4 * 9 + 4 + 8 + 4 * 9 + 1


def net() -> Net:
    module = Net().train()
    for _ in range(3):
        module(torch.rand(2, 3, 8, 8))
    return module


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (1, 3, height, width)).astype(np.float32)


def painted(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def exported(path: Path, module: nn.Module, dynamic: bool) -> None:
    dim = torch.export.Dim
    shapes: Any = ({2: dim("h", min=8, max=512), 3: dim("w", min=8, max=512)},) if dynamic else None
    program = torch.export.export(module.eval(), (torch.rand(1, 3, 16, 24),), dynamic_shapes=shapes)
    torch.export.save(program, path)


@pytest.mark.parametrize(
    "make",
    [torch.jit.script, lambda m: torch.jit.trace(m, torch.rand(1, 3, 16, 24))],
    ids=["scripted", "traced"],
)
def test_torchscript_paints_what_the_module_paints(tmp_path: Path, make: Callable[..., Any]) -> None:
    module = net().eval()
    torch.jit.save(make(module), tmp_path / "a.pt")
    network = read(tmp_path / "a.pt", DECLARED)
    assert (network.format, network.architecture, network.weights) == ("torchscript", "torchscript", WEIGHTS)
    assert network.contract is not None
    assert (network.contract.input.channels, network.contract.output.channels) == (3, 1)
    x = picture(32, 40)
    assert np.allclose(reference(network)(x), painted(module, x), atol=1e-5)


def test_torchscript_in_training_mode_is_set_to_eval_and_noted(tmp_path: Path) -> None:
    module = net()
    torch.jit.save(torch.jit.script(module), tmp_path / "a.pt")
    read_module, notes = read_torchscript(tmp_path / "a.pt")
    assert any("training mode" in note for note in notes)
    x = picture(16, 16)
    assert np.allclose(painted(read_module, x), painted(module.eval(), x), atol=1e-5)


def test_a_frozen_script_is_counted_by_its_constants(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.freeze(torch.jit.script(net().eval())), tmp_path / "a.pt")
    network = read(tmp_path / "a.pt")
    assert network.weights >= 3 * 4 * 9 + 4 * 9
    assert network.contract is None


def test_torchscript_that_touches_files_is_refused_unread(tmp_path: Path) -> None:
    class Writes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.ops.aten.save(x, "was-written")
            return x

    torch.jit.save(torch.jit.script(Writes()), tmp_path / "a.pt")
    with pytest.raises(PipelineError) as caught:
        read(tmp_path / "a.pt")
    assert caught.value.code == "unsafe-program"
    assert "save" in caught.value.message


def test_a_damaged_script_is_one_clear_error(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(net()), tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "a.pt", "w") as cut:
        for entry in whole.namelist():
            if not entry.endswith("data/0"):
                cut.writestr(entry, whole.read(entry))
    with pytest.raises(PipelineError) as caught:
        read(tmp_path / "a.pt")
    assert caught.value.code == "truncated-file"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_exported_program_paints_what_the_module_paints_at_any_size(tmp_path: Path, dynamic: bool) -> None:
    module = net().eval()
    exported(tmp_path / "a.pt2", module, dynamic)
    network = read(tmp_path / "a.pt2", DECLARED)
    assert (network.format, network.weights) == ("torch-export", WEIGHTS)
    paint = reference(network)
    assert paint.fixed_size is None
    for x in (picture(16, 24), picture(40, 32)):
        assert np.allclose(paint(x), painted(module, x), atol=1e-5)


def test_a_program_with_a_baked_size_says_its_size(tmp_path: Path) -> None:
    class Baked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 3, 16 * 24).reshape(1, 3, 16, 24)

    exported(tmp_path / "a.pt2", Baked(), False)
    assert reference(read(tmp_path / "a.pt2", DECLARED)).fixed_size == Size(24, 16)


def changed(path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None) -> Path:
    """A copy of an archive with its entries changed."""
    target = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(target, "w") as copy:
        root = whole.namelist()[0].partition("/")[0]
        for entry in whole.namelist():
            copy.writestr(entry, change(entry, whole.read(entry)))
        for name, content in (extra or {}).items():
            copy.writestr(f"{root}/{name}", content)
    return target


def in_program(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return apply


def keep(name: str, content: bytes) -> bytes:
    return content


def refused(path: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read_exported(path)
    return caught.value


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    exported(tmp_path / "a.pt2", net(), True)
    return tmp_path / "a.pt2"


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "math.__loader__.load_module",
        "#x:y",
    ],
)
def test_a_program_that_calls_something_else_than_operators_is_refused(dynamic: Path, target: str) -> None:
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    error = refused(changed(dynamic, in_program(change)))
    assert error.code == "unsafe-program"
    assert target in error.message


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('touch was-run')",
        "open('was-run', 'w')",
        "().__class__",
        "Symbol('s0').func",
        "exit()",
        "Add(Symbol('s0', positive=True), eval(1))",
        "lambda: 1",
    ],
)
def test_a_size_that_is_more_than_arithmetic_is_refused(dynamic: Path, expression: str) -> None:
    def change(program: Any) -> None:
        pending = [program]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                if "expr_str" in value:
                    value["expr_str"] = expression
                pending += value.values()
            elif isinstance(value, list):
                pending += value

    assert refused(changed(dynamic, in_program(change))).code == "unsafe-program"


@pytest.mark.parametrize(
    "name", ["data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/aotinductor/model/a.so"]
)
def test_pickled_objects_and_compiled_code_are_refused(dynamic: Path, name: str) -> None:
    assert refused(changed(dynamic, keep, {name: b"\x80\x02."})).code == "unsafe-program"


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        import os

        return os.system, ("touch was-run",)


@pytest.mark.parametrize("content", [Evil(), {"x": Net}])
def test_sample_inputs_that_run_code_are_refused(
    dynamic: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(dynamic.parent)
    buffer = io.BytesIO()
    torch.save(content, buffer)

    def change(name: str, data: bytes) -> bytes:
        return buffer.getvalue() if "sample_inputs" in name else data

    assert refused(changed(dynamic, change)).code == "unsafe-pickle"
    assert not (dynamic.parent / "was-run").exists()


def test_weights_that_are_bare_pickles_are_refused(dynamic: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return pickle.dumps(Evil()) if name.endswith("weight_0") else data

    assert refused(changed(dynamic, change)).code == "unsafe-program"


def test_two_entries_of_one_name_are_refused(dynamic: Path) -> None:
    with zipfile.ZipFile(dynamic, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"other")
    assert refused(dynamic).code == "ambiguous-archive"
