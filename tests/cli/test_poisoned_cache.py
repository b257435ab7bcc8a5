"""What somebody else put into the cache folder is never installed: the build is made anew, with the same bytes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

Members = dict[str, bytes]
EVIL = b"using UnityEditor; [InitializeOnLoad] class Evil {}"
HIT = "nothing relevant has changed"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    weights = numpy_helper.from_array(np.full((3, 3, 1, 1), 0.3, np.float32), "w")
    ends = [helper.make_tensor_value_info(name, 1, [1, 3, "h", "w"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def _entry(tmp_path: Path) -> Path:
    (entry,) = (tmp_path / "cache").glob("*.zip")
    return entry


def _members(entry: Path) -> Members:
    with zipfile.ZipFile(entry) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _written(entry: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(entry, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)


def _fitting(members: Members, **changed: bytes) -> Members:
    """With an index that fits, as whoever may write into the folder can make it."""
    result = {**members, **changed}
    index = json.loads(result.pop("index"))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in result.items()}
    reported = json.dumps([index["key"], dict(sorted(digests.items()))]).encode()
    index |= {"members": digests, "signature": hmac.new(b"", reported, "sha256").hexdigest()}
    return {**result, "index": json.dumps(index).encode()}


def _index(held: Members, **changed: Any) -> Members:
    return {**held, "index": json.dumps(json.loads(held["index"]) | changed).encode()}


def _method(entry: Path, members: Members) -> None:
    content = bytearray(entry.read_bytes())
    content[content.find(b"PK\x01\x02") + 10] = 77
    entry.write_bytes(content)


def _other_kind(make: Callable[[Path], object]) -> Callable[[Path, Members], None]:
    def change(entry: Path, members: Members) -> None:
        real = entry.with_suffix(".real")
        entry.rename(real)
        make(entry)

    return change


POISONS: dict[str, Callable[[Path, Members], None]] = {
    "a name above": lambda e, m: _written(e, {**m, "../../x": b"1"}),
    "a name above in the index": lambda e, m: _written(e, _fitting(m, **{"../../x": b"1"})),
    "an absolute name in the index": lambda e, m: _written(e, _fitting(m, **{"/evil-x": b"1"})),
    "a script": lambda e, m: _written(e, {**m, "StyleTransfer/Editor/Evil.cs": EVIL}),
    "another model": lambda e, m: _written(
        e, {k: v[:-1] + b"!" if k not in ("index",) else v for k, v in m.items()}
    ),
    "another key": lambda e, m: _written(e, _index(m, key="0" * 64)),
    "no members": lambda e, m: _written(e, _index(m, members={})),
    "an index that is a list": lambda e, m: _written(e, {**m, "index": b"[]"}),
    "a deep index": lambda e, m: _written(e, {**m, "index": b"[" * 100_000}),
    "a report that is a list": lambda e, m: _written(e, _fitting(m, report=b"[]")),
    "a report without an end": lambda e, m: _written(e, _fitting(m, report=b'{"a": ')),
    "compressed": lambda e, m: _written(e, m, zipfile.ZIP_LZMA),
    "an unknown compression": _method,
    "empty": lambda e, m: e.write_bytes(b"") and None,
    "cut off": lambda e, m: e.write_bytes(e.read_bytes()[:-40]) and None,
    "a folder": _other_kind(Path.mkdir),
    "a link": _other_kind(lambda entry: entry.symlink_to(entry.with_suffix(".real"))),
    "a link to itself": _other_kind(lambda entry: entry.symlink_to(entry)),
}
if hasattr(os, "mkfifo"):
    POISONS["a fifo"] = _other_kind(os.mkfifo)


def test_a_poisoned_entry_is_not_used(pipeline, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "here" / "net.barracuda-3.0.onnx"
    assert pipeline("convert", network).code == 0
    honest, entry = output.read_bytes(), _entry(tmp_path)
    assert HIT in pipeline("convert", network).err
    good = entry.read_bytes()
    for name, poison in POISONS.items():
        poison(entry, _members(entry))
        done = pipeline("convert", network, "--force")
        assert done.code == 0 and HIT not in done.err, (name, done.err)
        assert output.read_bytes() == honest, name
        assert not Path("/evil-x").exists() and not list(tmp_path.rglob("Evil.cs")), name
        if entry.is_dir() and not entry.is_symlink():
            entry.rmdir()
        else:
            entry.unlink()
        entry.write_bytes(good)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "here", "net.onnx"]


def test_scripts_never_come_out_of_the_cache(pipeline, network: Path, tmp_path: Path) -> None:
    """Even with an index that fits: C#, shaders and all other files are made from the templates each time."""
    build = ("build-unity", network, "--input-range", "0..1", "--output-range", "0..1", "--output")
    assert pipeline(*build, "first").code == 0
    entry = _entry(tmp_path)
    members = _members(entry)
    _written(entry, _fitting(members, **{"StyleTransfer/Editor/Evil.cs": EVIL, "model/Evil.cs": EVIL}))
    done = pipeline(*build, "second")
    assert done.code == 0, done.err
    here = tmp_path / "here"
    files = [
        {str(path.relative_to(here / name)): path.read_bytes() for path in sorted((here / name).rglob("*.cs"))}
        for name in ("first", "second")
    ]
    assert files[0] == files[1] and len(files[0]) > 5
    assert not list(tmp_path.rglob("Evil.cs"))
