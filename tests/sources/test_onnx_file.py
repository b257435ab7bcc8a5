"""ONNX files: read as they are, checked before they are believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.contract import ImageContract, ImageSide
from pipeline.sources.onnx_file import layout_of, load_model, read_onnx, trained_values
from pipeline.sources.stored_contract import stored_contract
from pipeline.sources.triage import FileFormat
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.sources.files import conv_model


def error_of(path: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        load_model(path)
    return caught.value


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(folder: Path, location: str, **entries: int) -> Path:
    """A model whose convolution weight lies in another file."""
    model = conv_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return saved(folder, model)


@pytest.mark.parametrize(("opset", "ir_version"), [(7, 3), (9, 4), (11, 6), (13, 7), (17, 8), (21, 10)])
def test_every_opset_is_read_as_it_is(tmp_path: Path, opset: int, ir_version: int) -> None:
    model = conv_model(opset=opset, ir_version=ir_version, listed=ir_version == 3)
    read = load_model(saved(tmp_path, model))
    assert read == model
    assert trained_values(read) == 84


def test_external_data_beside_the_file_is_loaded(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    (tmp_path / "weights.bin").write_bytes(b"12345678" + weight.tobytes() + b"more")
    model = load_model(external(tmp_path, "weights.bin", offset=8, length=weight.nbytes))
    assert np.array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), weight)
    assert model.graph.initializer[0].data_location == onnx.TensorProto.DEFAULT


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    error = error_of(external(tmp_path, "net.onnx.data"))
    assert error.code == "missing-external-data"
    assert "net.onnx.data" in error.message
    assert "'w'" in error.message


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "", ".", "a\0b"])
def test_external_data_outside_the_folder_is_refused_unread(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 324)
    inside = tmp_path / "model"
    inside.mkdir()
    assert error_of(external(inside, location)).code == "external-data-outside"


def test_a_link_that_leads_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 324)
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "weights.bin").symlink_to(tmp_path / "secret.bin")
    assert error_of(external(inside, "weights.bin")).code == "external-data-outside"


def test_external_data_that_is_too_short_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" * 100)
    assert error_of(external(tmp_path, "weights.bin", length=324)).code == "truncated-file"
    assert error_of(external(tmp_path, "weights.bin", offset=-5)).code == "damaged-file"
    assert error_of(external(tmp_path, "weights.bin")).code == "invalid-onnx"


def test_a_file_cut_off_anywhere_is_one_clear_error(tmp_path: Path) -> None:
    whole = conv_model().SerializeToString()
    path = tmp_path / "net.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert error_of(path).code in ("truncated-file", "empty-file", "not-a-model"), length


def test_damaged_bytes_never_escape_as_anything_but_a_pipeline_error(tmp_path: Path) -> None:
    whole = conv_model().SerializeToString()
    random = np.random.default_rng(1)
    path = tmp_path / "net.onnx"
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for position in random.integers(0, len(whole), 3):
            content[position] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            load_model(path)
        except PipelineError as error:
            assert error.remedy
            refused += 1
    assert refused > 50


def test_a_tensor_without_its_numbers_is_invalid(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.initializer[0].raw_data = b"\0" * 12
    error = error_of(saved(tmp_path, model))
    assert (error.code, "'w' has 12 bytes instead of 324" in error.message) == ("invalid-onnx", True)


def test_a_node_that_reads_what_nobody_gives_is_invalid(tmp_path: Path) -> None:
    from pipeline.sources import read

    model = conv_model()
    model.graph.node[0].input[0] = "nowhere"
    path = saved(tmp_path, model)
    with pytest.raises(PipelineError) as caught:
        read(path)
    assert caught.value.code == "invalid-onnx"
    assert load_model(path) == model, "what the target makes of it is for validate to say"


def test_operators_of_older_opsets_are_left_to_validate(tmp_path: Path) -> None:
    up = helper.make_node("Upsample", ["b", "s"], ["y"], mode="nearest")
    model = conv_model(opset=11, after=[up], out_shape=(1, 3, 32, 48))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1, 1, 2, 2]), "s"))
    assert load_model(saved(tmp_path, model)).graph.node[1].op_type == "Upsample"


def test_a_checkpoint_is_sent_to_convert(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.zeros(2, 2)}, tmp_path / "a.onnx")
    error = error_of(tmp_path / "a.onnx")
    assert error.code == "not-onnx"
    assert "pipeline convert" in error.remedy


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 16, 24), ("nchw", 3)),
        ((1, 144, 256, 3), ("nhwc", 3)),
        (("n", "h", "w", 1), ("nhwc", 1)),
        (("n", 1, "h", "w"), ("nchw", 1)),
        ((1, 3, 16, 3), ("nchw", 3)),
        (("n", "c", "h", "w"), ("nchw", 0)),
        ((1, 10), ("nchw", 0)),
    ],
)
def test_the_layout_is_read_from_the_declared_shape(shape: tuple[object, ...], expected: tuple[str, int]) -> None:
    assert layout_of(helper.make_tensor_value_info("x", 1, shape)) == expected


def test_a_contract_that_the_pipeline_wrote_is_read_back(tmp_path: Path) -> None:
    contract = ImageContract(ImageSide("0..255", order="bgr"), ImageSide("-1..1"), 8, Size(24, 16))
    model = conv_model()
    model.metadata_props.add(key="image_contract", value=json.dumps(contract.as_dict()))
    found = stored_contract(model, tmp_path / "a.onnx")
    assert found == contract
    assert found is not None and "metadata" in found.sources["input_range"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"input": {"range": "0..1", "order": "xyz"}}', "3"])
def test_a_damaged_contract_is_an_error_not_a_guess(tmp_path: Path, text: str) -> None:
    model = conv_model()
    model.metadata_props.add(key="image_contract", value=text)
    with pytest.raises(PipelineError):
        stored_contract(model, tmp_path / "a.onnx")


SIDE = '{"range": "0..1", "channels": 3}'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        f'{{"input": {SIDE}, "output": {SIDE}, "size_multiple": Infinity}}',
        f'{{"input": {SIDE}, "output": {SIDE}, "size_multiple": 0}}',
        f'{{"input": {SIDE}, "output": {SIDE}, "fixed_size": ["a", NaN]}}',
        f'{{"input": {{"range": "0..1", "channels": 1000000000}}, "output": {SIDE}}}',
        f'{{"input": {{"range": "0..1", "channels": 1}}, "output": {SIDE}}}',
        f'{{"input": {{"range": ["0..1"]}}, "output": {SIDE}}}',
    ],
)
def test_a_contract_that_nobody_can_mean_is_refused_with_what_helps(tmp_path: Path, text: str) -> None:
    model = conv_model()
    model.metadata_props.add(key="image_contract", value=text)
    with pytest.raises(PipelineError, match="metadata_props") as raised:
        stored_contract(model, tmp_path / "a.onnx")
    assert raised.value.code == "damaged-file"


def test_external_data_under_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("x" * 5000, "loop", "loop/x", "a\0b"):
        model = conv_model()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=name)
        path = tmp_path / "a.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(PipelineError) as raised:
            load_model(path)
        assert raised.value.code in ("external-data-outside", "missing-external-data")


def test_the_real_files_have_their_published_counts(shared_models: Path) -> None:
    counts = {
        "cjmills/final.onnx": 108_771,
        "cjmills/3_small.onnx": 424_899,
        "fast_neural_style/mosaic_nc8_128x128.onnx": 108_771,
        "tf_fast_style/udnie_full.converted.onnx": 1_677_638,
        "quantised/udnie_full.ort_dynamic_quint8.onnx": 1_677_638,
        "quantised/mosaic_final.ort_static_qdq_int8.onnx": 108_771,
        "other/super_resolution.onnx": 59_657,
    }
    assert {name: trained_values(load_model(shared_models / name)) for name in counts} == counts


def test_the_pipelines_own_mixture_of_forms_is_read_back(tmp_path):
    """Pad with attributes beside a Resize of opset 11: what Barracuda takes, and no opset allows."""
    from onnx import TensorProto, numpy_helper

    from pipeline.graph.model import PRODUCER
    from pipeline.sources import ReadOptions, read, reference

    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["x"], ["p"], mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
            helper.make_node("Resize", ["p", "", "s"], ["y"], mode="linear"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 20, 20])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
    )
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=4, producer_name=PRODUCER)
    path = tmp_path / "mixed.onnx"
    onnx.save(model, path)
    assert load_model(path) == model
    network = read(path, ReadOptions(input_range="0..1", output_range="0..1"))
    assert reference(network)(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 3, 20, 20)


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    """Float16 converters append their Casts at the end; ONNX Runtime takes that, onnx.checker does not."""
    model = conv_model()
    model.graph.node[0].output[0] = "made"
    model.graph.node.append(onnx.helper.make_node("Relu", ["made"], ["y"]))
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read_back, _, _ = read_onnx(saved(tmp_path, model), FileFormat("onnx", "an ONNX model"))
    result: set[str] = {
        "x",
        *(value.name for value in model.graph.input),
        *(t.name for t in model.graph.initializer),
    }
    for node in read_back.graph.node:
        assert set(node.input) <= result
        result |= set(node.output)


def test_a_batch_of_the_exporters_example_is_taken_for_one():
    from pipeline.sources.onnx_file import with_batch_of_one
    from tests.rewrites import model, node

    source = model([node("Relu", "x", "y")], input_shape=(4, 3, 12, 16))
    result, batch = with_batch_of_one(source)
    assert batch == 4
    assert [dim.dim_value for dim in result.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 12, 16]
    assert source.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    plain = model([node("Relu", "x", "y")])
    assert with_batch_of_one(plain)[0] is plain
