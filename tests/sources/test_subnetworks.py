"""Networks among others in one checkpoint, and names that begin as a wrapper's do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline import architectures
from pipeline.architectures import fast_neural_style as family
from pipeline.sources import ReadOptions, read
from pipeline.support.errors import PipelineError

PARAMS = {"widths": [4, 6, 8], "blocks": 1}
DECLARED = {"input_range": "0..1", "output_range": "0..1"}


def known(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(architectures.build(family.PLAIN.name, PARAMS).state_dict())


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": item for name, item in state.items()}


def loss_network() -> dict[str, torch.Tensor]:
    return {f"vgg.features.{i}.{part}": torch.rand(8, 8, 3, 3) for i in range(4) for part in ("weight", "bias")}


def saved(tmp_path: Path, state: Any) -> Path:
    torch.save(state, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def refused(path: Path, **options: Any) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read(path, ReadOptions(**options))
    return caught.value


def test_a_network_beside_its_loss_network_is_found(tmp_path: Path) -> None:
    expected = known()
    path = saved(tmp_path, {"epoch": 1, "state_dict": {**prefixed("transformer", expected), **loss_network()}})
    network = read(path)
    assert network.architecture == family.PLAIN.name
    assert any("with the prefix 'transformer' is used; 8 other tensors" in note for note in network.notes)
    assert network.module is not None
    assert all(torch.equal(network.module.state_dict()[name], item) for name, item in expected.items())


def test_a_network_and_its_average_are_asked_for_by_prefix(tmp_path: Path) -> None:
    plain, average = known(0), known(1)
    path = saved(tmp_path, {**prefixed("net", plain), **prefixed("net_ema", average)})
    error = refused(path)
    assert error.code == "several-state-dicts"
    assert "'net', 'net_ema'" in error.message
    assert "--prefix net_ema" in error.remedy
    module = read(path, ReadOptions(prefix="net_ema")).module
    assert module is not None
    assert torch.equal(module.state_dict()["conv1.conv2d.weight"], average["conv1.conv2d.weight"])
    assert not torch.equal(module.state_dict()["conv1.conv2d.weight"], plain["conv1.conv2d.weight"])
    wrong = refused(path, prefix="ema")
    assert wrong.code == "no-such-prefix"
    assert "'net_ema'" in wrong.remedy


OWN = """
from torch import nn
class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    def forward(self, x):
        return self.model(x)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    module = f"own_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return f"{module}:Generator"


def generator() -> dict[str, torch.Tensor]:
    return dict(
        nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1)).state_dict()
    )


@pytest.mark.parametrize("wrapper", ["model", "module.model", "model.model", "module._orig_mod.model", ""])
def test_an_own_module_whose_names_begin_with_model_is_loaded(tmp_path: Path, own: str, wrapper: str) -> None:
    stored = generator()
    state = prefixed(wrapper, stored) if wrapper else prefixed("model", stored)
    network = read(saved(tmp_path, state), ReadOptions(architecture=own, **DECLARED))
    assert network.module is not None
    loaded = network.module.state_dict()
    assert all(torch.equal(loaded[f"model.{name}"], value) for name, value in stored.items())


def test_an_own_module_is_found_among_others(tmp_path: Path, own: str) -> None:
    stored = prefixed("model", generator())
    beside = {f"netD.{i}.weight": torch.rand(4, 4, 3, 3) for i in range(6)}
    path = saved(tmp_path, {**prefixed("netG", stored), **beside})
    network = read(path, ReadOptions(architecture=own, **DECLARED))
    assert any("with the prefix 'netG' is used" in note for note in network.notes)
    path = saved(tmp_path, {**prefixed("netG", stored), **prefixed("netG_ema", stored), **beside})
    assert refused(path, architecture=own, **DECLARED).code == "several-state-dicts"
    read(path, ReadOptions(architecture=own, prefix="netG_ema", **DECLARED))


def test_weights_of_another_module_are_told_as_the_file_names_them(tmp_path: Path, own: str) -> None:
    state = prefixed("model", generator())
    state["model.3.weight"] = torch.rand(5, 5)
    error = refused(saved(tmp_path, state), architecture=own, **DECLARED)
    assert error.code == "weights-do-not-fit"
    assert "'model.3.weight'" in error.message


def test_a_missing_import_of_own_code_is_the_cause(tmp_path: Path, own: str) -> None:
    file = tmp_path / f"{own.partition(':')[0]}.py"
    file.write_text("import no_such_package\n")
    error = refused(saved(tmp_path, generator()), architecture=own, **DECLARED)
    assert error.code == "own-module-failed"
    assert "imports no_such_package, which is not installed" in error.message
    assert "arguments" not in error.remedy


def test_norms_with_scale_and_shift_are_a_known_network_with_its_own_contract(tmp_path: Path) -> None:
    def renamed(name: str) -> str:
        part, _, last = name.rpartition(".")
        is_norm = part.rpartition(".")[2].startswith("in")
        return f"{part}.{ {'weight': 'scale', 'bias': 'shift'}[last] }" if is_norm else name

    stored = known()
    network = read(saved(tmp_path, {renamed(name): value for name, value in stored.items()}))
    assert network.architecture == "fast-neural-style-scale-shift"
    assert network.contract is not None
    assert (network.contract.input.order, network.contract.output.order) == ("bgr", "bgr")
    assert network.contract.input.value_range == "0..255"
    module = network.module
    assert module is not None
    assert all(part.eps == 1e-9 for part in module.modules() if isinstance(part, nn.InstanceNorm2d))
    assert torch.equal(module.state_dict()["in1.weight"], stored["in1.weight"])
    plain = read(saved(tmp_path, stored))
    assert plain.architecture == family.PLAIN.name
    assert plain.module is not None
    assert all(part.eps == 1e-5 for part in plain.module.modules() if isinstance(part, nn.InstanceNorm2d))
    chosen = read(saved(tmp_path, stored), ReadOptions(architecture="fast-neural-style-scale-shift"))
    assert chosen.contract is not None
    assert chosen.contract.input.order == "bgr"


def test_a_network_with_nothing_in_common_is_not_compared(tmp_path: Path) -> None:
    error = refused(saved(tmp_path, {f"encoder.{i}.w": torch.rand(3, 3) for i in range(5)}))
    assert error.code == "unknown-architecture"
    assert "nearest" not in error.message
    assert "0 of" not in error.message
    assert "encoder.0.w" in error.message


def test_what_a_checkpoint_is_can_be_told_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.build.inspection import inspect

    path = saved(tmp_path, known())
    with_torch = inspect(path)
    monkeypatch.setitem(sys.modules, "torch", None)
    without = inspect(path)
    assert "cost" in with_torch
    assert "cost" not in without
    assert any("torch is not installed" in note for note in without["notes"])
    assert without["architecture"] == with_torch["architecture"]
    assert without["weights"] == with_torch["weights"]
    with pytest.raises(PipelineError, match=r"CPU build is sufficient: .*whl/cpu"):
        read(path)
