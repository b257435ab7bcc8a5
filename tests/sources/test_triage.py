"""What a file is, by its content."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.sources import identify
from pipeline.support.errors import PipelineError


def code_of(path: Path) -> str:
    with pytest.raises(PipelineError) as caught:
        identify(path)
    assert caught.value.remedy
    return caught.value.code


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def small_onnx() -> bytes:
    value = onnx.helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])
    out = onnx.helper.make_tensor_value_info("y", 1, [1, 3, 4, 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 9)]).SerializeToString()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6734045\n",
            "git-lfs-pointer",
        ),
        (b"\n\n<!DOCTYPE html>\n<html><head>", "html-page"),
        (b"<?xml version='1.0'?><html>", "html-page"),
        (b"\0" * 5000, "not-a-model"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "archive"),
        (b"7z\xbc\xaf\x27\x1c\0\0", "archive"),
        (b"\0" * 256 + b"\1ustar\0" + b"\0" * 300, "archive"),
        (b"PK\x03\x04 and no more", "truncated-file"),
        (b"\x1c\0\0\0TFL3\0\0\0\0", "unsupported-format"),
        (b"STPK\1\0\0\0", "unsupported-format"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not-a-model"),
        (b'{"a": 1}', "not-a-model"),
        (b'{"modelTopology": {}}', "unsupported-format"),
        (struct.pack("<qq", 16, 1) + b"\0" * 32, "unsupported-format"),
        (struct.pack("<qq", 17, 1) + b"\0" * 32, "unsupported-format"),
        (struct.pack("<qq", 20, 1) + b"\0" * 32, "unsupported-format"),
        (b"\x08\x01\x12\x02ab\xa2\x1f\x01x", "unsupported-format"),
        (bytes(range(200, 256)) * 10, "not-a-model"),
        ("\ufeffHello, I am not a network.".encode(), "not-a-model"),
    ],
)
def test_what_is_no_model_has_its_own_code(tmp_path: Path, content: bytes, code: str) -> None:
    assert code_of(written(tmp_path, "network.pth", content)) == code


def test_a_lfs_pointer_tells_the_size_of_the_real_file(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6734045\n"
    with pytest.raises(PipelineError, match="6,734,045 bytes"):
        identify(written(tmp_path, "a.pth", pointer))


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.pth") == "file-not-found"
    assert code_of(tmp_path) == "is-a-directory"


def test_a_saved_model_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(PipelineError, match="SavedModel"):
        identify(tmp_path)


def test_archives_that_hold_a_model_name_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"mosaic\.pth"):
        identify(written(tmp_path, "a.zip", zipped(mosaic_dot_pth=b"x")))


def test_content_decides_and_a_wrong_extension_is_a_note(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2, 2)}, tmp_path / "net.onnx")
    found = identify(tmp_path / "net.onnx")
    assert found.name == "torch-zip"
    assert ".onnx" in found.note
    torch.save({"a": torch.zeros(2, 2)}, tmp_path / "net.pth")
    assert identify(tmp_path / "net.pth").note == ""


def test_each_readable_format_is_recognised(tmp_path: Path) -> None:
    import h5py
    from safetensors.numpy import save_file

    state = {"a": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({"a": np.zeros((2, 2), np.float32)}, tmp_path / "a.safetensors")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(2)
    written(tmp_path, "a.onnx", small_onnx())
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    written(tmp_path, "plain.pkl", b"\x80\x04N.")
    expected = {
        "zip.pth": "torch-zip",
        "legacy.pth": "torch-legacy",
        "a.safetensors": "safetensors",
        "a.h5": "keras-h5",
        "a.onnx": "onnx",
        "script.pt": "torchscript",
        "plain.pkl": "pickle",
    }
    assert {name: identify(tmp_path / name).name for name in expected} == expected


def test_a_cut_off_onnx_file_is_truncated_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = small_onnx()
    for length in range(1, len(whole)):
        path = written(tmp_path, "a.onnx", whole[:length])
        try:
            assert identify(path).name == "onnx"  # cut behind the graph: reading finds the opset missing
        except PipelineError as error:
            assert error.code in ("truncated-file", "not-a-model"), (length, str(error))


def test_real_files_that_are_no_models_are_named(shared_models: Path) -> None:
    negative = shared_models / "negative"
    assert code_of(negative / "html_page_named_starry_night.onnx") == "html-page"
    assert code_of(negative / "lfs_pointer_resnet18.onnx") == "git-lfs-pointer"
    assert code_of(negative / "lfs_pointer_starry_night.h5") == "git-lfs-pointer"
    assert code_of(shared_models / "barracuda/mnist-cnn-mini.barracuda-1.0.4.nn") == "unsupported-format"
    core_ml = shared_models / "fritz/starry_night_640x480_small_a03_q8.mlmodel"
    assert code_of(core_ml) == "unsupported-format"
