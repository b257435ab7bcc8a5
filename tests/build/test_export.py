"""Export: what a network computes, in the opset that Barracuda knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as f

from pipeline.architectures import build, fast_neural_style
from pipeline.build.export import export
from pipeline.network import Network
from pipeline.sources import read, reference
from pipeline.support.errors import MissingDependency, PipelineError
from pipeline.support.size import Size
from tests.sources.files import conv_model, fritz_h5


def network(module: nn.Module) -> Network:
    return Network(
        name="net",
        source=Path("net.pth"),
        format="torch-zip",
        digest="",
        architecture="own",
        reason="",
        contract=None,
        weights=0,
        module=module.eval(),
    )


def known(name: str, params: dict[str, Any]) -> nn.Module:
    """A known architecture with random norms too, so that no two tensors are equal."""
    torch.manual_seed(0)
    module = build(name, params)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.2)
    return module


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    model = onnx.ModelProto.FromString(model.SerializeToString())
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"d{axis}"
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def picture(height: int, width: int, scale: float = 255.0) -> np.ndarray:
    return (np.random.default_rng(0).uniform(0, 1, (1, 3, height, width)) * scale).astype(np.float32)


def operators(model: onnx.ModelProto) -> dict[str, int]:
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in dict.fromkeys(names)}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *[(name, {"widths": [4, 6, 8], "blocks": 2}) for name in fast_neural_style.NAMES],
        ("fritz", {"widths": [4, 6, 8], "blocks": 2}),
        (
            "few-shot",
            {
                "filters": [4, 6, 8, 8, 10, 12],
                "resnet_blocks": 2,
                "input_channels": 3,
                "use_bias": True,
                "tanh": True,
                "append_smoothers": True,
                "batch_norm": True,
            },
        ),
    ],
)
def test_each_architecture_exports_to_opset_9_and_computes_the_same_at_other_sizes(
    name: str, params: dict[str, Any]
) -> None:
    module = known(name, params)
    model = export(network(module), Size(960, 540))
    assert model.opset_import[0].version == 9
    declared = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert ([i.name for i in model.graph.input], declared) == (["input"], [1, 3, 540, 960])
    assert [o.name for o in model.graph.output] == ["output"]
    for size in ((64, 80), (36, 28)):
        x = picture(*size, 1.0 if name == "few-shot" else 255.0)
        with torch.no_grad():
            expected = module(torch.from_numpy(x)).numpy()
        assert np.abs(run(model, x) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def test_the_plain_network_has_the_operators_that_barracuda_knows() -> None:
    model = export(network(known("fast-neural-style", {"widths": [4, 6, 8], "blocks": 5})))
    found = operators(model)
    assert {k: found[k] for k in ("Pad", "Conv", "InstanceNormalization", "Relu", "Add", "Upsample")} == {
        "Pad": 16,
        "Conv": 16,
        "InstanceNormalization": 15,
        "Relu": 10,
        "Add": 5,
        "Upsample": 2,
    }
    assert "Identity" not in found


def test_fritz_norm_is_written_with_global_average_pooling() -> None:
    found = operators(export(network(known("fritz", {"widths": [4, 6, 8], "blocks": 1}))))
    assert found["GlobalAveragePool"] == 16
    assert not {"ReduceMean", "InstanceNormalization", "Shape"} & set(found)


def test_nothing_of_torch_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    import warnings

    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i1(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(network(known("fast-neural-style", {"widths": [4, 6, 8], "blocks": 1})))
        with pytest.raises(PipelineError):
            export(network(Unknown()))
    assert [str(w.message) for w in caught] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("operation", "name"),
    [(torch.special.i1, "special_i1"), (lambda x: torch.fft.fft2(x).real, "fft")],
)
def test_an_operator_without_counterpart_is_named(operation: Any, name: str) -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return operation(x)

    with pytest.raises(PipelineError) as caught:
        export(network(Unknown()))
    assert caught.value.code == "export-failed"
    assert name in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "resize",
    [
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False),
        lambda x: f.interpolate(x, scale_factor=0.5, mode="nearest"),
    ],
)
def test_what_opset_9_cannot_say_goes_to_a_later_opset_and_stays_right(resize: Any) -> None:
    class Resizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return resize(self.conv(x))

    module = Resizes()
    model = export(network(module))
    assert model.opset_import[0].version == 11
    x = picture(64, 80, 1.0)
    with torch.no_grad():
        assert np.allclose(run(model, x), module(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_a_network_that_needs_a_larger_picture_is_traced_larger() -> None:
    class Large(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return f.pad(x, (70, 70, 70, 70), mode="reflect")

    model = export(network(Large()), Size(320, 256))
    x = picture(128, 160, 1.0)
    assert run(model, x).shape == (1, 3, 268, 300)


def test_a_module_left_in_training_mode_is_exported_in_eval_mode() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.9))
    trained = network(module)
    module.train()
    model = export(trained)
    x = picture(64, 80, 1.0)
    with torch.no_grad():
        assert np.allclose(run(model, x), module.eval()(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_two_outputs_are_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x * 2

    with pytest.raises(PipelineError) as caught:
        export(network(Two()))
    assert caught.value.code == "not-image-to-image"


def test_an_onnx_source_comes_back_as_an_equal_copy(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(conv_model().SerializeToString())
    source = read(tmp_path / "a.onnx")
    model = export(source, Size(960, 540))
    assert model == source.model
    assert model is not source.model


def test_the_same_network_gives_the_same_bytes() -> None:
    module = known("fast-neural-style", {"widths": [4, 6, 8], "blocks": 1})
    first, second = (export(network(module), Size(64, 64)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", ["script", "trace", "export"])
def test_programs_export_to_what_they_compute(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.ReflectionPad2d(1),
        nn.Conv2d(3, 4, 3, stride=2),
        nn.InstanceNorm2d(4, affine=True),
        nn.ReLU(),
        nn.Upsample(scale_factor=2.0),
        nn.Conv2d(4, 3, 3, padding=1),
    ).eval()
    example = torch.rand(1, 3, 32, 40)
    if kind == "export":
        path = tmp_path / "a.pt2"
        torch.export.save(torch.export.export(module, (example,)), path)
    else:
        path = tmp_path / "a.pt"
        torch.jit.save(torch.jit.script(module) if kind == "script" else torch.jit.trace(module, example), path)
    source = read(path)
    model = export(source, Size(80, 64))
    for size in ((64, 80), (36, 28)):
        x = picture(*size)
        with torch.no_grad():
            expected = module(torch.from_numpy(x)).numpy()
        assert np.abs(reference(source)(x) - expected).max() <= 1e-3
        assert np.abs(run(model, x) - expected).max() <= 1e-3


def test_without_torch_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fritz_h5(tmp_path / "a.h5")
    source = read(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency):
        export(source)


def test_the_real_keras_networks_export_exactly(shared_models: Path) -> None:
    for stem in ("starry_night_256x256_small_a03", "starry_night_256x256_025"):
        source = read(shared_models / "fritz" / f"{stem}.h5")
        x = picture(256, 256)
        assert np.abs(run(export(source), x) - reference(source)(x)).max() <= 1e-2


def test_the_real_checkpoint_exports_to_what_its_authors_export_computes(shared_models: Path) -> None:
    import onnxruntime as ort

    folder = shared_models / "fast_neural_style"
    model = export(read(folder / "mosaic_nc8.model"), Size(128, 128))
    x = picture(128, 128)
    (expected,) = ort.InferenceSession(folder / "mosaic_nc8_128x128.onnx").run(None, {"input.1": x})
    assert np.abs(run(model, x) - expected).max() <= 1e-2


class ToTheSkip(nn.Module):
    """F.interpolate to the size of an earlier layer, as many U-Nets have it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, f.interpolate(self.down(x), size=x.shape[2:], mode="nearest")], 1)[:, 2:5]


class PadsAndCrops(nn.Module):
    """Padded to a multiple of 16 and cropped again, with sizes that Python computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = int(x.shape[2]), int(x.shape[3])
        x = f.pad(x, (0, -width % 16, 0, -height % 16), mode="reflect")
        return f.interpolate(f.avg_pool2d(x, 16), scale_factor=16.0)[:, :, :height, :width]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "module", [ToTheSkip(), nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))]
)
def test_the_size_of_the_traced_picture_is_not_left_in_the_graph(module: nn.Module) -> None:
    model = export(network(module), Size(96, 48))
    for size in ((48, 96), (30, 44)):
        x = picture(*size, 1.0)
        with torch.no_grad():
            expected = module(torch.from_numpy(x)).numpy()
        assert np.allclose(run(model, x), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_sizes_that_python_computes_are_those_of_the_nominal_picture() -> None:
    model = export(network(PadsAndCrops()), Size(90, 54))
    x = picture(54, 90, 1.0)
    with torch.no_grad():
        assert np.allclose(run(model, x), PadsAndCrops()(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_a_u_net_that_halves_eight_times_is_exported() -> None:
    class Deep(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            small = x
            for _ in range(8):
                small = f.max_pool2d(small, 2)
            return x + f.interpolate(small, scale_factor=256.0)

    model = export(network(Deep()), Size(256, 256))
    x = picture(512, 256, 1.0)
    with torch.no_grad():
        assert np.allclose(run(model, x), Deep()(torch.from_numpy(x)).numpy(), atol=1e-5)
