"""Zip archives of which every byte belongs to one member or to the table of contents (APPNOTE.TXT 6.3.10).

Readers of zip files find members in three ways: by the table of contents, where its end says that it is, by the
table where it is from the end of the file backwards, or from one local header to the next. All three see the same
members only if there is nothing before, between and behind them, and if both headers of a member say the same.
"""

from __future__ import annotations

import struct
import zipfile
from typing import IO, Any

_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_DESCRIBED = 8
"""Flag of a member whose sizes stand behind its data, in a descriptor."""
_FULL = 0xFFFFFFFF
"""In place of a number of 32 bits that stands in a 64-bit field elsewhere."""


def what_is_odd(archive: zipfile.ZipFile) -> str:
    """What another reader may see otherwise in an archive, in words; "" where there is nothing.

    Reads the headers of all members, and none of the data.
    """
    file = archive.fp
    assert file is not None
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    end, odd = _end_of_members(file, archive.start_dir, len(entries))
    at = 0
    for entry, following in zip(entries, [*(entry.header_offset for entry in entries[1:]), end], strict=True):
        if odd:
            return odd
        at, odd = _member(file, entry, at, following)
    if odd or at == end:
        return odd
    return "there is something behind its last member"


def _end_of_members(file: IO[bytes], start: int, count: int) -> tuple[int, str]:
    """Where the table of contents begins, and what is odd about its end."""
    size = file.seek(0, 2)
    told = _unpack(file, _END, size - _END.size)
    if told is None or told[0] != b"PK\x05\x06" or told[-1]:
        return start, "there is something behind its table of contents"
    _, disk, first, here, entries, length, offset, _ = told
    behind, wanted = size - _END.size, (disk, first, here, entries, length, offset)
    locator = _unpack(file, _LOCATOR, behind - _LOCATOR.size)
    if locator is not None and locator[0] == b"PK\x06\x07":
        place = behind - _LOCATOR.size - _END64.size
        large = _unpack(file, _END64, place)
        if large is None or large[0] != b"PK\x06\x06" or locator[1:] != (0, place, 1) or large[1] != 44:
            return start, "the two ends of its table of contents do not fit together"
        disk, first, here, entries, length, offset = large[4:]
        behind = place
        limits = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, _FULL, _FULL)
        if any(short not in (long, most) for short, long, most in zip(wanted, large[4:], limits, strict=True)):
            return start, "the two ends of its table of contents do not say the same"
    if disk or first or here != entries or entries != count:
        return start, f"its end counts {entries:,} members, its table of contents has {count:,}"
    if offset != start or start + length != behind:
        return start, "its table of contents is not where its end says"
    return start, ""


def _member(file: IO[bytes], entry: zipfile.ZipInfo, at: int, following: int) -> tuple[int, str]:
    """Where a member that should begin at `at` ends, and what is odd about it."""
    name = repr(entry.filename[:80])
    if entry.header_offset != at:
        overlap = entry.header_offset < at
        return at, f"{name} lies over another member" if overlap else f"there is something in front of {name}"
    header = _unpack(file, _LOCAL, at)
    if header is None or header[0] != b"PK\x03\x04":
        return at, f"{name} has no header of its own"
    _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = header
    encoding = "utf-8" if flags & 0x800 else "cp437"
    if file.read(name_length) != entry.orig_filename.encode(encoding, "replace") or flags != entry.flag_bits:
        return at, f"the two headers of {name} do not say the same"
    told = (crc, packed, unpacked)
    meant = (entry.CRC, entry.compress_size, entry.file_size)
    described = bool(flags & _DESCRIBED)
    allowed = [(value, _FULL, 0) if described else (value, _FULL) for value in meant]
    if method != entry.compress_type or any(
        held not in values for held, values in zip(told, allowed, strict=True)
    ):
        return at, f"the two headers of {name} do not say the same"
    end = at + _LOCAL.size + name_length + extra_length + entry.compress_size
    if described:
        length = following - end
        file.seek(end)
        if not _describes(file.read(length) if 12 <= length <= 24 else b"", meant):
            return at, f"what stands behind {name} is not what describes it"
        end = following
    return end, ""


def _describes(content: bytes, meant: tuple[int, int, int]) -> bool:
    """Whether a descriptor, with or without its signature, in 32 or 64 bits, says what is meant."""
    content = content.removeprefix(b"PK\x07\x08") if len(content) in (16, 24) else content
    form = {12: "<LLL", 20: "<LQQ"}.get(len(content))
    return form is not None and struct.unpack(form, content) == meant


def _unpack(file: IO[bytes], form: struct.Struct, at: int) -> tuple[Any, ...] | None:
    if at < 0:
        return None
    file.seek(at)
    content = file.read(form.size)
    return form.unpack(content) if len(content) == form.size else None
