"""Identify the format of a file by its content, not by its extension.

Users pass whatever their browser, git or disk produced: Git LFS pointers, HTML pages saved as `.onnx`, partial
downloads. `identify` recognises these before any parser sees them, so that the user gets one clear message instead
of a parser's error. It reads a few kilobytes, and the top-level structure of protobuf and zip files.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.support.errors import PipelineError

HEAD = 4096
"""Bytes read from the beginning of the file."""

TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickled object of a file that torch.save wrote before version 1.6 (torch/serialization.py)."""
_LEGACY_MAGIC_BYTES = TORCH_LEGACY_MAGIC.to_bytes(10, "little")

READABLE = ".pth/.pt/.model (PyTorch), .pt2, .safetensors, .h5 (Keras) or .onnx"


@dataclass(frozen=True)
class Known:
    """A readable format: its description and usual extensions.

    `graph`: the file contains its own graph; the other formats contain only named weights.
    """

    description: str
    extensions: tuple[str, ...]
    graph: bool = False


FORMATS = {
    "torch-zip": Known("a PyTorch checkpoint (zip)", (".pth", ".pt", ".model", ".ckpt", ".tar", ".bin")),
    "torch-legacy": Known(
        "a PyTorch checkpoint (legacy pickle, before 1.6)", (".pth", ".pt", ".model", ".ckpt", ".tar", ".bin")
    ),
    "pickle": Known("a plain Python pickle", (".pth", ".pt", ".model", ".pkl", ".pickle")),
    "torchscript": Known("a TorchScript archive", (".pt", ".pth", ".ts", ".jit"), graph=True),
    "torch-export": Known("a torch.export archive", (".pt2",), graph=True),
    "safetensors": Known("a safetensors file", (".safetensors",)),
    "keras-h5": Known("an HDF5 file", (".h5", ".hdf5", ".keras")),
    "onnx": Known("an ONNX model", (".onnx",), graph=True),
}
EXTENSIONS = frozenset(extension for known in FORMATS.values() for extension in known.extensions)


@dataclass(frozen=True)
class FileFormat:
    """The format of a file by its content. `note` is set where the extension belongs to another format."""

    name: str
    description: str
    note: str = ""


_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (257, b"ustar", "a tar archive"),
)
_OTHER_MODELS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"TFL3", "a TensorFlow Lite model", "Export the network it was made from to ONNX (tf2onnx)."),
    (4, b"ORTM", "an ONNX Runtime (.ort) model", "Use the .onnx file it was made from."),
    (0, b"STPK", "a packed model", "Restore the .onnx file from it with pipeline decompress."),
    (0, b"GGUF", "a GGUF language model", f"Supported are image networks: {READABLE}."),
)
_NO_MODELS: tuple[tuple[bytes, str], ...] = (
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a bitmap picture"),
    (b"%PDF", "a PDF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program or library"),
)


def identify(path: Path) -> FileFormat:
    """Identify the format of a file by its content.

    Raises PipelineError for anything but a readable model: file-not-found, is-a-directory, unreadable-file,
    empty-file, git-lfs-pointer, html-page, archive, truncated-file, damaged-file, unsupported-format (a model of
    another system) and not-a-model.
    """
    path = Path(path)
    head, size = _head(path)
    name = _recognise(path, head, size)
    known, suffix, note = FORMATS[name], path.suffix.lower(), ""
    if suffix not in known.extensions and (suffix in EXTENSIONS or not suffix):
        note = (
            f"the file's extension is {suffix or 'missing'}, but its content is {known.description}; it is read "
            "as such"
        )
    return FileFormat(name, known.description, note)


def identify_onnx(path: Path) -> FileFormat:
    """Identify a file that must be an ONNX model. Raises what `identify` raises, and PipelineError `not-onnx`."""
    file_format = identify(path)
    if file_format.name != "onnx":
        raise PipelineError(
            "not-onnx",
            f"this is {file_format.description}, not an ONNX model",
            subject=str(path),
            remedy="Convert it first with pipeline convert.",
        )
    return file_format


def _head(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(HEAD), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise PipelineError(
            "file-not-found", "no such file exists", subject=str(path), remedy="Check the path."
        ) from None
    except IsADirectoryError:
        raise _directory(path) from None
    except (OSError, ValueError) as error:
        if path.is_dir():
            raise _directory(path) from None
        raise PipelineError(
            "unreadable-file",
            f"the file cannot be read ({error.strerror if isinstance(error, OSError) else error})",
            subject=str(path),
            remedy="Check its permissions.",
        ) from None


def _directory(path: Path) -> PipelineError:
    what = "a folder"
    if (path / "saved_model.pb").exists():
        what = "a TensorFlow SavedModel folder (export it to ONNX with tf2onnx)"
    return PipelineError(
        "is-a-directory",
        f"this is {what}, not a model file",
        subject=str(path),
        remedy=f"Supported are {READABLE}.",
    )


def _recognise(path: Path, head: bytes, size: int) -> str:
    if size == 0:
        raise PipelineError(
            "empty-file",
            "the file is empty (0 bytes)",
            subject=str(path),
            remedy="Download or export it again.",
        )
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        real = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
        of = f" to a file of {int(real[1]):,} bytes" if real else ""
        raise PipelineError(
            "git-lfs-pointer",
            f"this is a Git LFS pointer{of}, not the model itself",
            subject=str(path),
            remedy="Run `git lfs pull` in its repository, or download the file itself.",
        )
    if _is_html(head):
        raise PipelineError(
            "html-page",
            "this is an HTML page that was saved with the name of a model",
            subject=str(path),
            remedy="Download the file itself (on GitHub: 'Download raw file'), not the web page about it.",
        )
    if not any(head):
        raise PipelineError(
            "not-a-model",
            "the file contains only zero bytes at its start: an incomplete download or a damaged disk",
            subject=str(path),
            remedy="Download or export it again.",
        )
    if head.startswith(b"PK"):
        return _recognise_zip(path)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras-h5"
    for offset, magic, what in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            raise PipelineError(
                "archive", f"this is {what}", subject=str(path), remedy="Unpack it and use the model inside."
            )
    for offset, magic, what, remedy in _OTHER_MODELS:
        if head[offset : offset + len(magic)] == magic:
            raise _unsupported(path, what, remedy)
    for magic, what in _NO_MODELS:
        if head.startswith(magic):
            raise PipelineError(
                "not-a-model", f"this is {what}", subject=str(path), remedy=f"Supported are {READABLE}."
            )
    return _recognise_binary(path, head, size)


def _recognise_binary(path: Path, head: bytes, size: int) -> str:
    if _LEGACY_MAGIC_BYTES in head[:32]:
        return "torch-legacy"
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return "pickle"
    if _is_safetensors(path, head, size):
        return "safetensors"
    if size >= 16 and struct.unpack_from("<q", head)[0] in (16, 17, 20):
        raise _unsupported(
            path,
            f"a compiled Barracuda model (.nn, version {head[0]})",
            "Unity imports it directly; to build a bundle, use the network that it was made from.",
        )
    if head[:1] in (b"{", b"[") or _is_text(head):
        raise _text(path, head)
    return _recognise_protobuf(path, head, size)


def _unsupported(path: Path, what: str, remedy: str) -> PipelineError:
    return PipelineError("unsupported-format", f"this is {what}", subject=str(path), remedy=remedy)


def _truncated(path: Path, detail: str) -> PipelineError:
    return PipelineError(
        "truncated-file",
        f"the file is truncated: {detail}",
        subject=str(path),
        remedy="Download or export it again.",
    )


def _is_html(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return True
    return text.startswith((b"<?xml", b"<!--", b"<script")) and b"<html" in text


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(c.isprintable() or c in "\r\n\t\f" for c in text)


def _text(path: Path, head: bytes) -> PipelineError:
    start = head.lstrip()[:40].decode("utf-8", "replace").splitlines()
    shown = start[0] if start else ""
    if b'"modelTopology"' in head or b'"weightsManifest"' in head:
        return _unsupported(
            path, "a TensorFlow.js model", "Export the network it was made from to ONNX (tf2onnx)."
        )
    return PipelineError(
        "not-a-model",
        f"this is a text file that begins with {shown!r}",
        subject=str(path),
        remedy=f"Supported are {READABLE}.",
    )


def _is_safetensors(path: Path, head: bytes, size: int) -> bool:
    """Whether the file begins like safetensors: the u64 length of a JSON header, then `{` (the format's
    README)."""
    if size < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack_from("<Q", head)
    if length > 100_000_000:
        return False
    if 8 + length > size:
        if path.suffix.lower() == ".safetensors" or b'"dtype"' in head or b"__metadata__" in head:
            raise _truncated(path, f"its header has {length:,} bytes, but the file has {size:,}")
        return False
    return True


def _recognise_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise _truncated(path, "a zip archive without its table of contents") from None
    except (OSError, ValueError, NotImplementedError, struct.error, EOFError, OverflowError) as error:
        raise PipelineError(
            "damaged-file",
            f"the zip archive cannot be opened ({error})",
            subject=str(path),
            remedy="Download or export it again.",
        ) from None
    tails = {name.partition("/")[2] for name in names} | set(names)
    if any(tail.startswith("models/") and tail.endswith(".json") for tail in tails) or tails & {
        "serialized_exported_program.json",
        "archive_format",
    }:
        return "torch-export"
    if "data.pkl" in tails:
        scripted = "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails)
        return "torchscript" if scripted else "torch-zip"
    if "model.weights.h5" in tails:
        raise _unsupported(path, "a Keras 3 .keras archive", "Save it as .h5, or export it to ONNX (tf2onnx).")
    if names and all(name.endswith(".npy") for name in names):
        raise _unsupported(path, "a NumPy .npz archive", f"Supported are {READABLE}.")
    models = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
    inside = f" (it contains {models[0]!r})" if models else ""
    raise PipelineError(
        "archive",
        f"this is a zip archive{inside}, not a model",
        subject=str(path),
        remedy="Unpack it and use the model inside.",
    )


# --- protobuf: no magic number, so the top-level fields decide -----------------------------------------------

_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Fields of onnx.ModelProto and their wire types (onnx/onnx.proto)."""


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    for index in range(at, min(at + 10, len(data))):
        value |= (data[index] & 0x7F) << shift
        shift += 7
        if data[index] < 0x80:
            return value, index + 1
    return None


def _top_level_fields(path: Path, size: int) -> tuple[list[tuple[int, int]], str]:
    """(field number, wire type) pairs at the top level of a protobuf message, and how the scan ended.

    The end is '' (at the end of the file), 'cut' (in the middle of a field) or 'bad' (not protobuf).
    """
    fields: list[tuple[int, int]] = []
    position = 0
    with path.open("rb") as file:
        while position < size and len(fields) < 4096:
            file.seek(position)
            data = file.read(32)
            tag = _varint(data, 0)
            if tag is None:
                return fields, "cut" if len(data) < 10 else "bad"
            number, wire = tag[0] >> 3, tag[0] & 7
            if number == 0 or wire in (3, 4, 6, 7):
                return fields, "bad"
            fields.append((number, wire))
            if wire in (0, 2):
                value = _varint(data, tag[1])
                if value is None:
                    return fields, "cut" if len(data) < 20 else "bad"
                position += value[1] + (value[0] if wire == 2 else 0)
            else:
                position += tag[1] + (8 if wire == 1 else 4)
    return fields, "" if position == size else "cut"


def _recognise_protobuf(path: Path, head: bytes, size: int) -> str:
    fields, end = _top_level_fields(path, size)
    numbers = {number for number, _ in fields}
    suffix = path.suffix.lower()
    if end != "bad" and fields and fields[0] == (1, 0) and any(200 <= n <= 3000 for n in numbers):
        raise _unsupported(path, "a Core ML model", "Use the network that it was made from (.h5, .pth or .onnx).")
    onnx_like = bool(fields) and all(_ONNX_FIELDS.get(number) == wire for number, wire in fields)
    if onnx_like and end == "" and 7 in numbers:
        return "onnx"
    if onnx_like and end == "cut" and (7 in numbers or suffix == ".onnx"):
        raise _truncated(path, "an ONNX model whose last field is longer than the file")
    if suffix in (".pb", ".pbtxt") or (end == "" and fields and fields[0] == (1, 2)):
        raise _unsupported(path, "a TensorFlow graph", "Export it to ONNX (tf2onnx).")
    if suffix in (".nn", ".sentis", ".mlmodel", ".tflite", ".ckpt", ".index"):
        raise _unsupported(path, f"a {suffix} file of an unknown kind", f"Supported are {READABLE}.")
    if onnx_like and suffix == ".onnx":
        raise _truncated(path, "an ONNX model without a graph")
    raise PipelineError(
        "not-a-model",
        f"its content is not a known model format (it begins with {head[:8].hex(' ')})",
        subject=str(path),
        remedy=f"Supported are {READABLE}. If it was one of these, it is damaged: download or export it again.",
    )
