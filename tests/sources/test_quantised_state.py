"""State dicts that PyTorch quantised, against what torch itself says that their weights stand for."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

from pipeline.sources import ReadOptions, read, reference
from pipeline.sources.archive import open_archive
from pipeline.sources.tensors import read_state
from pipeline.support.errors import PipelineError

pytestmark = pytest.mark.filterwarnings("ignore")


class Painter(nn.Module):
    """What users quantise: stubs, a convolution with batch norm, a skip, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.first, self.norm, self.relu = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.deep, self.instance = nn.Conv2d(8, 8, 3, 1, 1), nn.InstanceNorm2d(8, affine=True)
        self.skip = nn.quantized.FloatFunctional()
        self.up, self.last = nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Conv2d(4, 3, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.first(self.quant(x))))
        x = self.skip.add(x, self.instance(self.deep(x)))
        return self.dequant(self.last(self.up(x)))


def painter() -> nn.Module:
    torch.manual_seed(3)
    module = Painter()
    with torch.no_grad():
        module.norm.running_mean.normal_(0, 0.1)
        module.norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def static(training: bool = False, convert: bool = True) -> nn.Module:
    """Eager static quantisation, weights per channel; with `training` by quantisation-aware training."""
    module = painter().train(training)
    fuse = quantization.fuse_modules_qat if training else quantization.fuse_modules
    module = fuse(module, [["first", "norm", "relu"]])
    config = quantization.get_default_qat_qconfig if training else quantization.get_default_qconfig
    module.qconfig, module.up.qconfig = config("x86"), config("qnnpack")
    module = (quantization.prepare_qat if training else quantization.prepare)(module)
    module(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    return quantization.convert(module.eval()) if convert else module.eval()


def symbolic() -> nn.Module:
    """FX graph mode; it folds batch norm by itself."""
    mapping = quantization.get_default_qconfig_mapping("x86").set_module_name(
        "up", quantization.get_default_qconfig("qnnpack")
    )
    example = (torch.rand(1, 3, 16, 16),)
    module = quantize_fx.prepare_fx(painter(), mapping, example)
    module(*example)
    return quantize_fx.convert_fx(module)


def dynamic() -> nn.Module:
    torch.manual_seed(4)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.Linear(16, 6), nn.Linear(6, 4, bias=False))
    return quantization.quantize_dynamic(module.eval(), {nn.Linear}, dtype=torch.qint8)


def save(module: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """torch 2.13's x86 engine computes quantised transposed convolutions wrongly; fbgemm does not."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    monkeypatch.chdir(tmp_path)
    return ReadOptions(
        architecture="tests.sources.test_quantised_state:painter", input_range="0..1", output_range="0..1"
    )


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """torch's own float values of every quantised tensor."""
    found = {}
    for name, value in module.state_dict().items():
        if isinstance(value, tuple):
            name, value = name.replace("_packed_params._packed_params", "weight"), value[0]
        if isinstance(value, torch.Tensor) and value.is_quantized:
            found[name] = value
    return found


@pytest.mark.parametrize("make", [static, lambda: static(training=True), symbolic, dynamic])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_bit_for_bit_what_torch_dequantises(tmp_path: Path, make: Any, zipped: bool) -> None:
    module = make()
    state = read_state(save(module.state_dict(), tmp_path / "q.pth", zipped))
    expected = weights(module)
    assert {item.name for item in state.integers} == set(expected)
    for item in state.integers:
        value = expected[item.name]
        assert np.array_equal(item.ints, value.int_repr().numpy())
        assert item.ints.dtype == value.int_repr().numpy().dtype
        assert np.array_equal(state.tensors[item.name], value.dequantize().numpy())
        assert (item.axis is None) == (value.qscheme() == torch.per_tensor_affine)
    left = [name for name in state.tensors if "scale" in name or "zero_point" in name or "packed" in name]
    assert not left
    assert any("compute in float" in note for note in state.notes)


def test_a_bias_beside_packed_weights_is_read_and_a_missing_one_is_not_invented(tmp_path: Path) -> None:
    module = dynamic()
    state = read_state(save(module.state_dict(), tmp_path / "q.pth"))
    assert np.array_equal(state.tensors["2.bias"], module[2].bias().detach().numpy())
    assert "3.bias" not in state.tensors
    assert list(state.tensors) == ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight"]


@pytest.mark.parametrize("make", [static, lambda: static(training=True), symbolic])
def test_the_float_network_is_rebuilt_and_computes_what_the_quantised_one_computes(
    tmp_path: Path, own: ReadOptions, make: Any
) -> None:
    module = make()
    network = read(save(module.state_dict(), tmp_path / "q.pth"), own)
    assert [item.name for item in network.integers] == list(weights(module))
    picture = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    with torch.no_grad():
        rounded = module(torch.from_numpy(picture)).numpy()
    exact = reference(network)(picture)
    assert np.abs(exact - rounded).max() < 0.05 * np.ptp(rounded)
    assert any("folded before quantising is omitted: norm" in note for note in network.notes)
    assert any("got a bias by it: first" in note for note in network.notes)


def test_a_network_prepared_for_quantisation_is_read_as_the_floats_it_still_holds(tmp_path: Path) -> None:
    module = painter()
    module.qconfig = quantization.get_default_qat_qconfig("x86")
    prepared = quantization.prepare_qat(module.train())
    prepared(torch.rand(1, 3, 16, 16))
    state = read_state(save(prepared.eval().state_dict(), tmp_path / "q.pth"))
    assert set(state.tensors) == set(painter().state_dict())
    assert not state.integers
    assert any("observers are ignored" in note for note in state.notes)


def test_scales_of_a_float_network_stay(tmp_path: Path) -> None:
    names = {"a.weight": torch.ones(2, 2), "a.scale": torch.ones(1), "a.zero_point": torch.ones(1)}
    assert set(read_state(save(names, tmp_path / "f.pth")).tensors) == set(names)


def test_a_whole_quantised_module_gives_its_convolutions(tmp_path: Path) -> None:
    module = nn.Sequential(quantization.QuantStub(), nn.Conv2d(3, 4, 3), nn.ReLU(), quantization.DeQuantStub())
    module.eval().qconfig = quantization.get_default_qconfig("x86")
    module = quantization.prepare(module)
    module(torch.rand(1, 3, 8, 8))
    module = quantization.convert(module)
    state = read_state(save(module, tmp_path / "q.pth"))
    (stored,) = state.integers
    assert np.array_equal(state.tensors["1.weight"], module[1].weight().dequantize().numpy())
    assert np.array_equal(state.tensors["1.bias"], module[1].bias().detach().numpy())
    assert stored.name == "1.weight"


def test_a_factory_of_a_quantised_network_is_refused_by_name(tmp_path: Path, own: ReadOptions) -> None:
    path = save(static().state_dict(), tmp_path / "q.pth")
    options = ReadOptions("tests.sources.test_quantised_state:static", "0..1", "0..1")
    with pytest.raises(PipelineError, match=r"already quantised \(quant is a Quantize\)") as caught:
        read(path, options)
    assert caught.value.code == "own-module-failed"


def rebuilt(parameters: tuple[Any, ...], shape: tuple[int, ...] = (2, 3)) -> Any:
    """An object that pickles as a quantised tensor with these parameters."""

    class Quantised:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            stored = torch.arange(math.prod(shape), dtype=torch.int8)
            storage = torch._empty_affine_quantized(shape, scale=1.0, zero_point=0, dtype=torch.qint8)
            storage = storage.untyped_storage().copy_(stored.untyped_storage())
            typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.qint8, _internal=True)
            strides = torch.empty(shape).stride()
            return torch._utils._rebuild_qtensor, (typed, 0, shape, strides, parameters, False, {})

    return Quantised()


@pytest.mark.parametrize(
    "parameters",
    [
        (torch.per_tensor_affine, "0.1", 0),
        (torch.per_tensor_affine, 0.1, 300),
        (torch.per_tensor_affine, 0.1, 0.5),
        (torch.per_channel_affine, torch.ones(3), torch.zeros(3, dtype=torch.int64), 0),
        (torch.per_channel_affine, torch.ones(2), torch.zeros(2, dtype=torch.int64), 2),
        (torch.per_channel_affine, torch.ones(2), torch.zeros(2), 0),
    ],
)
def test_a_scale_that_does_not_fit_is_damage(tmp_path: Path, parameters: tuple[Any, ...]) -> None:
    save({"w": rebuilt(parameters)}, tmp_path / "q.pth")
    with pytest.raises(PipelineError, match="'w' has an impossible scale") as caught:
        read_state(tmp_path / "q.pth")
    assert caught.value.code == "damaged-file"


def test_a_sound_one_of_the_same_making_is_read(tmp_path: Path) -> None:
    save({"w": rebuilt((torch.per_tensor_affine, 0.5, 1))}, tmp_path / "q.pth")
    (stored,) = read_state(tmp_path / "q.pth").integers
    assert stored.real().tolist() == [[-0.5, 0.0, 0.5], [1.0, 1.5, 2.0]]


def test_other_schemes_are_refused_by_name(tmp_path: Path) -> None:
    save({"w": rebuilt((torch.per_channel_affine_float_qparams, torch.ones(2), torch.ones(2), 0))}, tmp_path / "q")
    with pytest.raises(PipelineError, match="'w' is quantised in an unsupported way") as caught:
        read_state(tmp_path / "q")
    assert caught.value.code == "unsupported-tensor"


def test_nothing_is_executed(tmp_path: Path) -> None:
    state = copy.deepcopy(static().state_dict())
    path = save(state, tmp_path / "q.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        called = []
        original, pickle.Unpickler = pickle.Unpickler, lambda *a, **k: called.append(a)
        try:
            assert open_archive(path, "torch-zip").root
        finally:
            pickle.Unpickler = original
    assert not called
