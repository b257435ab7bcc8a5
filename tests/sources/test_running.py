"""The source network as a function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pipeline.sources import ReadOptions, read, reference
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.sources.files import conv_model


def function(folder: Path, model: onnx.ModelProto, **options: str):  # type: ignore[no-untyped-def]
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return reference(read(path, ReadOptions(**options)))


def convolved(x: np.ndarray) -> np.ndarray:
    import torch

    weight = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    bias = torch.arange(3.0)
    return torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), bias, padding=1).numpy()


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 3, 16, 24), ("n", 3, "h", "w"), (1, 3, None, None)])
def test_declared_sizes_are_relaxed_where_the_graph_runs(tmp_path: Path, shape: tuple[object, ...]) -> None:
    paint = function(tmp_path, conv_model(shape=shape))
    assert paint.fixed_size is None
    for size in ((16, 24), (40, 12)):
        assert np.allclose(paint(picture(*size)), convolved(picture(*size)), atol=1e-5)


def test_a_graph_with_a_baked_size_keeps_it(tmp_path: Path) -> None:
    model = conv_model(after=[helper.make_node("Reshape", ["b", "s"], ["y"])])
    model.graph.initializer.append(numpy_helper.from_array(np.int64([1, 3, 16, 24]), "s"))
    paint = function(tmp_path, model)
    assert paint.fixed_size == Size(24, 16)
    assert np.allclose(paint(picture(16, 24)), convolved(picture(16, 24)), atol=1e-5)


def test_a_graph_that_resizes_to_a_baked_size_keeps_it(tmp_path: Path) -> None:
    crop = helper.make_node("Slice", ["b"], ["y"], starts=[0, 0], ends=[16, 24], axes=[2, 3])
    paint = function(tmp_path, conv_model(after=[crop]))
    assert paint.fixed_size == Size(24, 16)


def test_initialisers_listed_as_inputs_are_not_taken_for_the_picture(tmp_path: Path) -> None:
    paint = function(tmp_path, conv_model(ir_version=3, listed=True))
    assert np.allclose(paint(picture(16, 24)), convolved(picture(16, 24)), atol=1e-5)


def test_a_channels_last_graph_is_a_channels_first_function(tmp_path: Path) -> None:
    before = helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2])
    after = helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1])
    model = conv_model(before=[before], after=[after], shape=(1, 16, 24, 3))
    paint = function(tmp_path, model, input_range="0..1", output_range="0..1")
    assert paint.fixed_size is None
    assert np.allclose(paint(picture(20, 12)), convolved(picture(20, 12)), atol=1e-5)


def test_a_graph_that_is_not_about_pictures_says_so(tmp_path: Path) -> None:
    flat = helper.make_tensor_value_info("x", 1, [1, 8])
    out = helper.make_tensor_value_info("y", 1, [1, 8])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [flat], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    with pytest.raises(PipelineError) as caught:
        function(tmp_path, model)
    assert caught.value.code == "not-image-to-image"


def test_a_graph_that_onnx_runtime_refuses_says_so(tmp_path: Path) -> None:
    odd = helper.make_node("Odd", ["b"], ["y"], domain="my.domain")
    model = conv_model(after=[odd])
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    with pytest.raises(PipelineError) as caught:
        function(tmp_path, model)
    assert caught.value.code == "source-does-not-run"
    assert "\n" not in str(caught.value)


def test_the_real_static_files_run_at_other_sizes(shared_models: Path) -> None:
    relaxed = reference(read(shared_models / "cjmills/12_small.onnx"))
    assert relaxed.fixed_size is None
    assert relaxed(picture(36, 44) * 255).shape == (1, 3, 36, 44)
    baked = reference(read(shared_models / "fast_neural_style/mosaic_nc8_128x128.onnx"))
    assert baked.fixed_size == Size(128, 128)
    layout = reference(read(shared_models / "other/selfie_segmentation_landscape.onnx"))
    assert layout(picture(144, 256)).shape == (1, 1, 144, 256)
