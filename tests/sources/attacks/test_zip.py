"""Archives in which two readers would see two things: refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.sources import read
from pipeline.sources.programs import checked_script
from tests.sources.attacks import Evil, Members, refused, write

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]


def central(path: Path, find: bytes, put: bytes) -> None:
    """Change a name in the central directory alone: the local header keeps the old one."""
    data = path.read_bytes()
    at = data.rindex(find)
    path.write_bytes(data[:at] + put + data[at + len(find) :])


def test_headers_that_disagree_are_refused(tmp_path: Path, whole: dict[str, Members]) -> None:
    path = write(tmp_path / "a.pt2", [*whole["pt2"].items(), ("models/other.xson", b"{}")])
    central(path, b"models/other.xson", b"models/other.json")
    refused(path)
    path = write(tmp_path / "a.pt2", list(whole["pt2"].items()))
    central(path, b"data/weights/weight_0", b"data/weights/weight_7")
    refused(path)


@pytest.mark.parametrize("kind", ["pt2", "script"])
def test_links_second_names_and_encryption_are_refused(
    tmp_path: Path, whole: dict[str, Members], kind: str
) -> None:
    path = tmp_path / ("a.pt2" if kind == "pt2" else "a.pt")

    def special(change: Callable[[zipfile.ZipInfo], None]) -> str:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in whole[kind].items():
                entry = zipfile.ZipInfo(f"a/{name}")
                if name == "version" or name == "archive_version":
                    change(entry)
                archive.writestr(entry, content)
        return refused(path).code

    def link(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = 0o120777 << 16

    def renamed(entry: zipfile.ZipInfo) -> None:
        entry.extra = struct.pack("<HHBI", 0x7075, 9, 1, 0) + b"evil"

    def squeezed(entry: zipfile.ZipInfo) -> None:
        entry.compress_type = zipfile.ZIP_LZMA

    assert {special(change) for change in (link, renamed, squeezed)} == {"ambiguous-archive"}


def _shifted(content: bytes, by: int) -> bytes:
    """An archive with `by` more bytes in front of it, all places in it corrected."""
    end = content.rindex(b"PK\x05\x06")
    (start,) = struct.unpack_from("<L", content, end + 16)
    result = bytearray(content)
    struct.pack_into("<L", result, end + 16, start + by)
    at = start
    while result[at : at + 4] == b"PK\x01\x02":
        (place,) = struct.unpack_from("<L", result, at + 42)
        struct.pack_into("<L", result, at + 42, place + by)
        at += 46 + sum(struct.unpack_from("<3H", result, at + 28))
    return bytes(result)


def _end_of(content: bytes) -> int:
    return content.rindex(b"PK\x05\x06")


def _counting(content: bytes, count: int) -> bytes:
    end = _end_of(content)
    return content[: end + 8] + struct.pack("<HH", count, count) + content[end + 12 :]


def _with_gap(content: bytes, hidden: bytes) -> bytes:
    """`hidden` between the last member and the table of contents, which is told to be behind it."""
    end = _end_of(content)
    (start,) = struct.unpack_from("<L", content, end + 16)
    result = bytearray(content[:start] + hidden + content[start:])
    struct.pack_into("<L", result, end + len(hidden) + 16, start + len(hidden))
    return bytes(result)


def _two_ends(content: bytes, honest: bool) -> bytes:
    """The same archive with an end in 64 bits as well, as torch writes it; a lying one counts one member less."""
    end = _end_of(content)
    count, _, length, start = struct.unpack_from("<HHLL", content, end + 8)
    stored = count if honest else count - 1
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, stored, stored, length, start)
    return content[:end] + large + struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1) + content[end:]


def _sized(content: bytes) -> bytes:
    """The first member's own header says another size than the table of contents."""
    return content[:18] + struct.pack("<L", 3) + content[22:]


HIDDEN = b"PK\x03\x04" + bytes(26) + b"hidden"
LAYOUTS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "bytes in front": lambda honest, _: HIDDEN + honest,
    "bytes in front that are counted": lambda honest, _: HIDDEN + _shifted(honest, len(HIDDEN)),
    "an archive in front": lambda honest, evil: evil + honest,
    "an archive in front that is counted": lambda honest, evil: evil + _shifted(honest, len(evil)),
    "an archive behind": lambda honest, evil: honest + evil,
    "twice": lambda honest, _: honest + honest,
    "a comment": lambda honest, _: honest[:-2] + struct.pack("<H", 9) + b"a comment",
    "an archive as comment": lambda honest, evil: honest[:-2] + struct.pack("<H", len(evil)) + evil,
    "bytes behind": lambda honest, _: honest + bytes(8),
    "a member less": lambda honest, _: _counting(honest, 1),
    "no members": lambda honest, _: _counting(honest, 0),
    "more members": lambda honest, _: _counting(honest, 60000),
    "a hidden member": lambda honest, _: _with_gap(honest, HIDDEN),
    "two ends that differ": lambda honest, _: _two_ends(honest, False),
    "another size": lambda honest, _: _sized(honest),
}


@pytest.mark.parametrize("kind", ["pt2", "script", "checkpoint"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_bytes_that_belong_to_no_member_are_refused(
    tmp_path: Path, whole: dict[str, Members], layout: Callable[[bytes, bytes], bytes], kind: str
) -> None:
    """A reader that begins at the front, or takes another end for the end, would see another archive."""
    path = tmp_path / ("a.pt2" if kind == "pt2" else "a.pt")
    evil = write(path, [("data.pkl", pickle.dumps(Evil()))]).read_bytes()
    if kind == "checkpoint":
        plain = io.BytesIO()
        torch.save({"conv.weight": torch.rand(3, 3, 3, 3)}, plain)
        with zipfile.ZipFile(plain) as archive:
            members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    else:
        members = whole[kind]
    honest = write(path, list(members.items())).read_bytes()
    path.write_bytes(layout(honest, evil))
    assert refused(path).code in ("ambiguous-archive", "unsafe-pickle", "damaged-file", "truncated-file")


def test_what_writers_of_archives_do_is_read(tmp_path: Path, whole: dict[str, Members]) -> None:
    """Ends in 64 bits, descriptors behind the data, padded headers, and members in another order."""

    class Stream(io.RawIOBase):
        """Cannot seek, so that sizes are written behind the data."""

        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += data
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in reversed(whole["script"].items()):
            with archive.open(zipfile.ZipInfo(f"a/{name}"), "w", force_zip64=name == "version") as member:
                member.write(content)
    described = bytes(stream.content)
    path = write(tmp_path / "a.pt", list(whole["script"].items()))
    plain = path.read_bytes()
    for content in (described, plain, _two_ends(plain, True)):
        path.write_bytes(content)
        assert read(path).module is not None


def test_files_beside_the_network_are_not_in_what_torch_gets(tmp_path: Path, whole: dict[str, Members]) -> None:
    """`extra/` is where torch.jit.save puts a user's own files: they are left behind."""
    evil = b"import os\n"
    members = [*whole["script"].items(), ("extra/evil.py", evil), ("extra/info.json", b"{}")]
    result = checked_script(write(tmp_path / "a.pt", members))
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        assert not [name for name in archive.namelist() if "extra" in name]
    assert evil not in result
    torch.jit.load(io.BytesIO(result))
