"""A small file costs little, whatever it describes, and no reader looks into other files."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from pipeline.sources import read
from pipeline.sources.budget import FLOOR, Budget, shown_size
from pipeline.sources.keras import read_keras
from pipeline.sources.onnx_file import load_model, tensors
from pipeline.sources.tensors import read_state
from pipeline.support import limits
from pipeline.support.errors import PipelineError
from pipeline.validation.files import check_files, read_as_is
from tests.sources.files import conv_model, fritz_h5

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def code_of(action: Callable[[], Any]) -> str:
    with pytest.raises(PipelineError) as caught:
        action()
    assert len(str(caught.value)) < 2000
    return caught.value.code


# --- the budget itself ----------------------------------------------------------------------------------------


def test_a_budget_grows_with_the_file_and_is_raised_by_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: 100 << 30)
    assert Budget("f", 1000).limit == FLOOR
    assert Budget("f", 100 << 20).limit == 3200 << 20
    assert Budget("f", 100 << 30).limit == 75 << 30
    monkeypatch.setenv(limits.MEMORY, "10M")
    small = Budget("f", 1000)
    small.take(6 << 20)
    with pytest.raises(PipelineError, match=r"12 MiB.* limit is 10 MiB.*PIPELINE_MEMORY_LIMIT=") as caught:
        small.take(6 << 20)
    assert caught.value.code == "over-budget"
    assert shown_size(5 << 30) == "5.0 GiB"


@pytest.mark.parametrize(
    ("text", "size"), [("500M", 500 << 20), ("1.5g", 3 << 29), ("4096", 4096), ("2GiB", 2 << 30)]
)
def test_memory_limits_are_read(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv(limits.MEMORY, text)
    assert limits.memory_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "0", "1T", "1e9"])
def test_limits_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(limits.MEMORY, text)
    assert code_of(limits.memory_limit) == "bad-limit"
    monkeypatch.setenv(limits.TIME, text if text != "1T" else "x")
    assert code_of(limits.time_limit) == "bad-limit"


def test_free_memory_is_known_here() -> None:
    free = limits.available_memory()
    assert free is not None
    assert 0 < free < 1 << 50
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = limits.address_space()
    assert taken > 1 << 20
    resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 30), hard))
    try:
        limited = limits.available_memory()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert limited is not None
    assert limited <= 1 << 30


# --- checkpoints ----------------------------------------------------------------------------------------------


def saved(path: Path, state: Any, **options: Any) -> Path:
    torch.save(state, path, **options)
    return path


@pytest.mark.parametrize("legacy", [True, False])
def test_tensors_that_repeat_their_storage_share_one_budget(tmp_path: Path, legacy: bool) -> None:
    one = torch.zeros(1)
    path = tmp_path / "a.pth"
    saved(path, {f"w{i}": one.expand(1000, 4000) for i in range(60)}, _use_new_zipfile_serialization=not legacy)
    assert code_of(lambda: read_state(path)) == "over-budget"
    saved(path, {f"w{i}": one.expand(100, 100) for i in range(60)}, _use_new_zipfile_serialization=not legacy)
    assert len(read_state(path).tensors) == 60


def test_integers_and_bytes_count_as_what_they_become(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1, dtype=torch.uint8).expand(3000, 3000)})
    assert code_of(lambda: read_state(path)) == "over-budget"


def test_quantised_tensors_are_counted(tmp_path: Path) -> None:
    state = {}
    for index in range(3):
        whole = torch.quantize_per_tensor(torch.zeros(1), 0.1, 0, torch.qint8)
        state[f"w{index}"] = whole.expand(2500, 2500)
    assert code_of(lambda: read_state(saved(tmp_path / "a.pth", state))) == "over-budget"


def test_a_sparse_tensor_is_written_out_under_the_budget(tmp_path: Path) -> None:
    dense = torch.zeros(6, 5)
    dense[1, 2], dense[3, 4] = 2.0, -1.0
    path = saved(tmp_path / "a.pth", {"w": dense.to_sparse(), "v": dense.to_sparse_csr()})
    state = read_state(path)
    assert np.array_equal(state.tensors["w"], dense.numpy())
    assert np.array_equal(state.tensors["v"], dense.numpy())
    giant = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (1 << 15, 1 << 15))
    path = saved(tmp_path / "a.pth", {"w": giant})
    assert code_of(lambda: read_state(path)) == "over-budget"


def test_overlapping_safetensors_are_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = tmp_path / "a.safetensors"
    for entries in (
        {"a": entry, "b": entry},
        {"a": entry, "b": {**entry, "data_offsets": [12, 28]}},
    ):
        header = json.dumps(entries).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 32)
        assert code_of(lambda: read_state(path)) == "damaged-file"


def test_a_name_given_twice_in_safetensors_is_refused(tmp_path: Path) -> None:
    entry = '{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    header = f'{{"a":{entry},"a":{entry}}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)
    assert code_of(lambda: read_state(path)) == "damaged-file"


def bomb(levels: int, shape: str) -> bytes:
    """A pickle whose object's text doubles at every level."""
    result = b"\x80\x02"
    if shape == "record":
        result += b"cx\ny\n)\x81q\x00"
        for _ in range(levels):
            result += b"0cx\ny\nh\x00h\x00\x86\x81q\x00"
        return result + b"}h\x00K\x01s."
    result += b"N\x85q\x00"
    for _ in range(levels):
        result += b"0h\x00h\x00\x86q\x00"
    if shape == "type":
        return result + b"0ctorch._utils\n_rebuild_tensor_v3\n(NNNNNNh\x00tR."
    return result + b"."


@pytest.mark.parametrize("shape", ["record", "tuple", "type"])
def test_text_of_objects_is_bounded(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(bomb(200, shape))
    start = time.process_time()
    assert code_of(lambda: read(path)) in ("no-state-dict", "damaged-file", "unsupported-tensor")
    assert time.process_time() - start < 3


def test_names_of_modules_do_not_grow_without_end(tmp_path: Path) -> None:
    name = b"X\x00\x20\x00\x00" + b"n" * 8192 + b"q\x02"
    inner = b"cx\ny\n)\x81}(X\x0b\0\0\0_parametersh\x03X\x08\0\0\0_modulesh\x04ub"
    result = b"\x80\x02}q\x03}q\x04" + name + b"0" + inner + b"q\x05"
    for _ in range(90):
        result += b"cx\ny\n)\x81}(X\x0b\0\0\0_parametersh\x03X\x08\0\0\0_modules}h\x02h\x05sub" + b"q\x05"
    (tmp_path / "a.pkl").write_bytes(result + b".")
    assert code_of(lambda: read_state(tmp_path / "a.pkl")) in ("damaged-file", "no-state-dict")


def test_a_checkpoint_with_other_networks_of_contradicting_kinds_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", OrderedDict(w=torch.zeros(2, 2)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("A/DATA.PKL", pickle.dumps(1))
    assert code_of(lambda: read_state(path)) == "ambiguous-archive"


# --- Keras ----------------------------------------------------------------------------------------------------


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    fritz_h5(tmp_path / "a.h5")
    return tmp_path / "a.h5"


def replaced(keras: Path, change: Callable[[Any, str], None]) -> Path:
    import h5py

    with h5py.File(keras, "a") as file:
        group = file["model_weights/conv2d_1/conv2d_1"]
        change(group, "kernel:0")
    return keras


def test_links_of_every_kind_are_refused(keras: Path, tmp_path: Path) -> None:
    import h5py

    fritz_h5(tmp_path / "other.h5")
    inside = "/model_weights/conv2d_1/conv2d_1/kernel:0"

    def external(group: Any, name: str) -> None:
        del group[name]
        group[name] = h5py.ExternalLink("other.h5", inside)

    def soft(group: Any, name: str) -> None:
        group.move(name, "elsewhere")
        group[name] = h5py.SoftLink("/model_weights/conv2d_1/conv2d_1/elsewhere")

    def whole_group(group: Any, _: str) -> None:
        parent = group.parent
        del parent["conv2d_1"]
        parent["conv2d_1"] = h5py.ExternalLink("other.h5", "/model_weights/conv2d_1/conv2d_1")

    for change in (soft, external, whole_group):
        fritz_h5(keras)
        assert code_of(lambda: read_keras(replaced(keras, change))) == "damaged-file"  # noqa: B023


def test_numbers_in_other_files_are_refused(keras: Path, tmp_path: Path) -> None:
    import h5py

    fritz_h5(tmp_path / "other.h5")
    (tmp_path / "raw").write_bytes(b"\0" * 4 * 9 * 9 * 3 * 4)

    def external(group: Any, name: str) -> None:
        del group[name]
        group.create_dataset(name, (9, 9, 3, 4), "f4", external=[(str(tmp_path / "raw"), 0, 4 * 9 * 9 * 3 * 4)])

    def virtual(group: Any, name: str) -> None:
        del group[name]
        layout = h5py.VirtualLayout((9, 9, 3, 4), "f4")
        layout[...] = h5py.VirtualSource(
            str(tmp_path / "other.h5"), "model_weights/conv2d_1/conv2d_1/kernel:0", (9, 9, 3, 4)
        )
        group.create_virtual_dataset(name, layout)

    for change in (external, virtual):
        fritz_h5(keras)
        with pytest.raises(PipelineError, match="another file"):
            read_keras(replaced(keras, change))


def test_chunks_that_were_never_written_count(keras: Path) -> None:
    def chunked(group: Any, name: str) -> None:
        del group[name]
        group.create_dataset(name, (9, 9, 3, 1 << 20), "f4", chunks=(9, 9, 3, 16), fillvalue=0.5)

    assert code_of(lambda: read_keras(replaced(keras, chunked))) == "over-budget"


def test_references_and_texts_for_numbers_are_refused(keras: Path) -> None:
    import h5py

    def references(group: Any, name: str) -> None:
        del group[name]
        group.create_dataset(name, (4,), h5py.ref_dtype)

    assert code_of(lambda: read_keras(replaced(keras, references))) == "damaged-file"


# --- ONNX -----------------------------------------------------------------------------------------------------


def external(location: str, values: int = 2, name: str = "kk") -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=name, data_type=1, dims=[values])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def placed(where: str, tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A model with a tensor at one of the places where ONNX allows one."""
    constant = helper.make_node("Constant", [], ["k"], value=tensor)
    add = helper.make_node("Identity", ["x"], ["z"])
    x, y = (helper.make_tensor_value_info(name, 1, [1, 3, 8, 2]) for name in "xy")
    sparse = onnx.SparseTensorProto(dims=[4])
    sparse.values.CopyFrom(tensor)
    sparse.indices.CopyFrom(helper.make_tensor("i", 7, [2], [0, 1]))
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    functions: list[onnx.FunctionProto] = []
    initializers: list[onnx.TensorProto] = []
    if where == "initializer":
        initializers = [tensor]
    elif where == "constant":
        nodes.append(constant)
    elif where == "subgraph":
        body = helper.make_graph([constant, add], "b", [], [helper.make_tensor_value_info("z", 1, None)])
        condition = helper.make_tensor("c", 9, [], [True])
        nodes = [
            helper.make_node("Constant", [], ["c"], value=condition),
            helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body),
        ]
    elif where == "function":
        given = [helper.make_opsetid("", 18)]
        body = [helper.make_node("Constant", [], ["k"], value=tensor), helper.make_node("Add", ["a", "k"], ["b"])]
        functions = [helper.make_function("own", "F", ["a"], ["b"], body, given)]
        nodes = [helper.make_node("F", ["x"], ["y"], domain="own")]
    elif where == "sparse":
        nodes.append(helper.make_node("Constant", [], ["k"], sparse_value=sparse))
    elif where == "list":
        nodes[0].attribute.append(helper.make_attribute("held", [tensor]))
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, functions=functions, ir_version=8)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 18), helper.make_opsetid("own", 1)])
    return model


PLACES = ("initializer", "constant", "subgraph", "function", "sparse", "list")


@pytest.mark.parametrize("where", PLACES)
def test_external_data_is_read_beside_the_model_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "model" / "a.onnx"
    values = np.array([1.5, 2.5], np.float32)
    (tmp_path / "here" / "secret.bin").write_bytes(np.array([7, 7], np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(np.array([8, 8], np.float32).tobytes())
    for location, code in (
        ("secret.bin", "missing-external-data"),
        ("../secret.bin", "external-data-outside"),
        (str(tmp_path / "secret.bin"), "external-data-outside"),
    ):
        path.write_bytes(placed(where, external(location)).SerializeToString())
        assert code_of(lambda: load_model(path)) == code
    (tmp_path / "model" / "link").symlink_to(tmp_path / "secret.bin")
    path.write_bytes(placed(where, external("link")).SerializeToString())
    assert code_of(lambda: load_model(path)) == "external-data-outside"
    (tmp_path / "model" / "secret.bin").write_bytes(values.tobytes())
    path.write_bytes(placed(where, external("secret.bin")).SerializeToString())
    found = [numpy_helper.to_array(t) for t in tensors(load_model(path)) if t.name == "kk"]
    assert found
    assert all(np.array_equal(item, values) for item in found)


@pytest.mark.parametrize("where", PLACES)
def test_validate_reads_no_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / "secret.bin").write_bytes(np.array([7, 7], np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").write_bytes(placed(where, external("secret.bin")).SerializeToString())
    model = read_as_is(tmp_path / "a.onnx")
    weights = [tensor for tensor in tensors(model) if tensor.name == "kk"]
    assert weights
    for tensor in weights:
        assert tensor.data_location == onnx.TensorProto.EXTERNAL
        with pytest.raises(Exception, match=r".*"):
            numpy_helper.to_array(tensor)
    for verdict in check_files([tmp_path / "a.onnx"], measure=True).verdicts:
        assert "7.0" not in json.dumps(verdict.as_dict())


def test_many_tensors_on_one_external_file_share_one_budget(tmp_path: Path) -> None:
    values = 1 << 20
    (tmp_path / "w.bin").write_bytes(b"\0" * 4 * values)
    model = conv_model()
    path = tmp_path / "a.onnx"
    model.graph.initializer.extend(external("w.bin", values, f"k{i}") for i in range(60))
    path.write_bytes(model.SerializeToString())
    assert code_of(lambda: load_model(path)) == "over-budget"
    del model.graph.initializer[6:]
    path.write_bytes(model.SerializeToString())
    assert len(load_model(path).graph.initializer) == 6


def test_tensors_without_their_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    for change in (
        lambda t: t.dims.extend([1 << 40]),
        lambda t: t.float_data.append(1.0),
        lambda t: t.segment.SetInParent(),
        lambda t: setattr(t, "data_type", 99),
    ):
        model = conv_model()
        tensor = model.graph.initializer[0]
        tensor.float_data.extend(numpy_helper.to_array(tensor).ravel().tolist())
        tensor.ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
        load_model(path)
        change(tensor)
        path.write_bytes(model.SerializeToString())
        assert code_of(lambda: load_model(path)) == "invalid-onnx"


def test_an_old_ir_version_whose_initializers_are_no_inputs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(conv_model(ir_version=3).SerializeToString())
    network = read(path)
    assert network.model is not None
    assert network.model.ir_version == 4
    path.write_bytes(conv_model(ir_version=3, listed=True).SerializeToString())
    model = read(path).model
    assert model is not None
    assert model.ir_version == 3


def test_an_empty_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    assert code_of(lambda: read(tmp_path / "checkpoint.pt")) == "empty-file"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w"):
        pass
    (tmp_path / "checkpoint.pt").write_bytes(buffer.getvalue())
    assert code_of(lambda: read(tmp_path / "checkpoint.pt")) == "archive"
