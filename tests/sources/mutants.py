"""Small honest source files of every format, and damaged copies of them.

    for kind, seed in seeds(folder).items():
        mutant = mutated(seed, random.Random(7))
        outcome = attempt(kind, path)           # "read", or the code of the refusal

Bytes are flipped, cut, repeated and replaced; in archives also the content, the name or the presence of one member
(with right checksums), and in JSON one value: so that the damage gets past the first check.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.sources import read
from pipeline.sources.exported import read_program
from pipeline.sources.keras import read_keras
from pipeline.sources.onnx_file import read_onnx
from pipeline.sources.programs import checked_script
from pipeline.sources.tensors import read_state
from pipeline.sources.triage import identify
from pipeline.support.errors import PipelineError
from pipeline.validation.files import read_as_is
from tests.sources.files import conv_model, fritz_h5

PLANTED = "was-run"
"""The file that every planted attack would leave in the current folder."""
_NUMBERS = (0, 1, -1, 2, 127, 255, 256, 1 << 15, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63)
_TEXTS = (
    b"cos\nsystem\n(S'touch was-run'\ntR",
    b'c__builtin__\neval\n(S\'open("was-run","w")\'\ntR',
    b"../../x",
    b"__torch__",
    b"torch.save",
    b"\x80\x02",
    b"(",
    b"t",
    b"\x85",
    b"h\x00",
    b"q\x00",
    b"\n",
    b"\x00" * 8,
    b"\xff" * 8,
    b"9" * 40,
)
_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1 << 70, 1e308, "", "x" * 300, "__import__('os')", [], {}, [[]] * 3)


def seeds(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Honest files by kind: suffix and bytes, the same in every run (but for torch's serial numbers)."""
    import torch
    from safetensors.torch import save
    from torch import nn

    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.norm = nn.InstanceNorm2d(3, affine=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.norm(self.conv(x)))

    net = Net().eval()
    state = OrderedDict(net.state_dict())
    sparse = {**state, "sparse": state["conv.weight"].reshape(9, 9).to_sparse()}
    quantised = {**state, "q": torch.quantize_per_tensor(state["conv.weight"], 0.1, 0, torch.qint8)}
    result: dict[str, tuple[str, bytes]] = {}
    for name, content, options in (
        ("checkpoint", {"state_dict": state, "epoch": 3}, {}),
        ("sparse checkpoint", sparse, {}),
        ("quantised checkpoint", quantised, {}),
        ("legacy checkpoint", state, {"_use_new_zipfile_serialization": False}),
        ("whole module", nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)), {}),
    ):
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        result[name] = ".pth", buffer.getvalue()
    arrays = {key: value.numpy().tolist() for key, value in state.items()}
    result["pickle"] = ".pkl", pickle.dumps({"a": arrays, "b": nn.Linear(3, 3).state_dict()}, 4)
    result["safetensors"] = ".safetensors", save({key: value.contiguous() for key, value in state.items()})
    fritz_h5(folder / "seed.h5")
    result["keras"] = ".h5", (folder / "seed.h5").read_bytes()
    result["onnx"] = ".onnx", conv_model(listed=True).SerializeToString()
    buffer = io.BytesIO()
    dim = torch.export.Dim
    shapes = ({2: dim("h", min=8, max=512), 3: dim("w", min=8, max=512)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 24),), dynamic_shapes=shapes), buffer)
        result["torch.export"] = ".pt2", buffer.getvalue()
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.trace(net, torch.rand(1, 3, 16, 24)), buffer)
    result["TorchScript"] = ".pt", buffer.getvalue()
    return result


def _state(path: Path) -> None:
    read_state(path)


def _onnx(path: Path) -> None:
    read_as_is(path)
    read_onnx(path, identify(path))


READERS: dict[str, Callable[[Path], Any]] = {
    "keras": read_keras,
    "onnx": _onnx,
    "torch.export": read_program,
    "TorchScript": checked_script,
}
"""Readers that need no torch; the other kinds are state dicts."""


def attempt(kind: str, path: Path, whole: bool = False) -> str:
    """How reading the file ends: "read" or the code of a refusal. Whatever else a reader raises passes through.

    `whole` reads it as the command line does, torch and a first run included.
    """
    try:
        if whole:
            read(path)
        else:
            READERS.get(kind, _state)(path)
    except PipelineError as error:
        text = str(error)
        if len(text) > 3000 or "\n" in text:
            raise AssertionError(f"an error text of {len(text)} characters") from error
        return error.code
    return "read"


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A copy with one to four damages."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        try:
            archive = zipfile.ZipFile(io.BytesIO(data)) if data.startswith(b"PK") else None
        except Exception:  # damaged by the last round
            archive = None
        if archive is not None and chance.random() < 0.75:
            data = _members(archive, chance)
        else:
            data = _bytes(data, chance)
    return data


def _members(archive: zipfile.ZipFile, chance: random.Random) -> bytes:
    try:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:  # damaged by the last round
        return _bytes(archive.fp.getvalue() if isinstance(archive.fp, io.BytesIO) else b"PK", chance)
    small = [index for index, (name, _) in enumerate(members) if not name.rpartition("/")[2].isdecimal()]
    index = chance.choice(small or range(len(members)))
    name, content = members[index]
    match chance.randrange(10):
        case 0:
            del members[index]
        case 1:
            members.insert(chance.randrange(len(members) + 1), (name, _bytes(content, chance)))
        case 2:
            members[index] = chance.choice((name.upper(), name + "x", name + "/", "../" + name, name[1:])), content
        case 3:
            other = chance.randrange(len(members))
            members[index], members[other] = (name, members[other][1]), (members[other][0], content)
        case _:
            members[index] = name, _json(content, chance) if name.endswith(".json") else _bytes(content, chance)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as item:
        warnings.simplefilter("ignore")
        for name, content in members:
            item.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _json(content: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return _bytes(content, chance)
    holder, place = {"": value}, ""
    stored: Any = holder
    for _ in range(chance.randrange(1, 12)):
        inner = stored[place]
        if not isinstance(inner, (dict, list)) or not inner:
            break
        stored = inner
        place = chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))  # type: ignore[assignment]
    stored[place] = chance.choice(_VALUES)
    return json.dumps(holder[""]).encode()


def _bytes(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(9):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + chance.choice((1, 2, 4, 8, 64)) :]
        case 2:
            end = at + chance.choice((1, 4, 16, 256))
            return data[:end] + data[at:end] * chance.choice((1, 2, 50)) + data[end:]
        case 3:
            return data[:at] + chance.choice(_TEXTS) + data[at:]
        case 4:
            text = chance.choice(_TEXTS)
            return data[:at] + text + data[at + len(text) :]
        case 5:
            form = chance.choice(("<I", "<Q", ">I", "<H"))
            size = struct.calcsize(form)
            number = chance.choice(_NUMBERS) & ((1 << (8 * size)) - 1)
            return data[:at] + struct.pack(form, number) + data[at + size :]
        case 6:
            return data[:at] + chance.randbytes(8) + data[at + 8 :]
        case _:
            if not data:
                return b"\x80"
            flipped = bytearray(data)
            for _ in range(chance.choice((1, 1, 3, 20))):
                flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            return bytes(flipped)
