"""Check that every byte of a zip archive belongs to one member or to the central directory (APPNOTE.TXT 6.3.10).

Zip readers find members in three ways: through the central directory at the offset that the end record contains,
through the central directory directly before the end record, or by walking from one local header to the next. All
three find the same members only if there is no data before, between and after the members, and if both headers of
each member agree.
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
"""Flag bit of a member whose sizes are in a data descriptor after its data."""
_FULL = 0xFFFFFFFF
"""Placeholder for a 32-bit number whose value is in a zip64 field."""


def layout_fault(archive: zipfile.ZipFile) -> str:
    """What another zip reader could read differently in an archive, as text for a message; "" if nothing.

    Reads the headers of all members, not their data.
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
    return "there is data after its last member"


def _end_of_members(file: IO[bytes], start: int, count: int) -> tuple[int, str]:
    """Where the central directory begins, and the fault of its end record, or ""."""
    size = file.seek(0, 2)
    record = _unpack(file, _END, size - _END.size)
    if record is None or record[0] != b"PK\x05\x06" or record[-1]:
        return start, "there is data after its table of contents"
    _, disk, first, here, entries, length, offset, _ = record
    behind, short_values = size - _END.size, (disk, first, here, entries, length, offset)
    locator = _unpack(file, _LOCATOR, behind - _LOCATOR.size)
    if locator is not None and locator[0] == b"PK\x06\x07":
        place = behind - _LOCATOR.size - _END64.size
        large = _unpack(file, _END64, place)
        if large is None or large[0] != b"PK\x06\x06" or locator[1:] != (0, place, 1) or large[1] != 44:
            return start, "the two end records of its table of contents contradict each other"
        disk, first, here, entries, length, offset = large[4:]
        behind = place
        limits = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, _FULL, _FULL)
        if any(
            short not in (long, most) for short, long, most in zip(short_values, large[4:], limits, strict=True)
        ):
            return start, "the two end records of its table of contents contradict each other"
    if disk or first or here != entries or entries != count:
        return start, f"its end record counts {entries:,} members, but its table of contents has {count:,}"
    if offset != start or start + length != behind:
        return start, "its table of contents is not where its end record says"
    return start, ""


def _member(file: IO[bytes], entry: zipfile.ZipInfo, at: int, following: int) -> tuple[int, str]:
    """Where a member that should begin at `at` ends, and its fault, or ""."""
    name = repr(entry.filename[:80])
    if entry.header_offset != at:
        overlap = entry.header_offset < at
        return at, f"{name} overlaps another member" if overlap else f"there is data before {name}"
    header = _unpack(file, _LOCAL, at)
    if header is None or header[0] != b"PK\x03\x04":
        return at, f"{name} has no local header"
    _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = header
    encoding = "utf-8" if flags & 0x800 else "cp437"
    if file.read(name_length) != entry.orig_filename.encode(encoding, "replace") or flags != entry.flag_bits:
        return at, f"the two headers of {name} do not say the same"
    header_values = (crc, packed, unpacked)
    table_values = (entry.CRC, entry.compress_size, entry.file_size)
    described = bool(flags & _DESCRIBED)
    allowed = [(value, _FULL, 0) if described else (value, _FULL) for value in table_values]
    if method != entry.compress_type or any(
        header_value not in values for header_value, values in zip(header_values, allowed, strict=True)
    ):
        return at, f"the two headers of {name} do not say the same"
    end = at + _LOCAL.size + name_length + extra_length + entry.compress_size
    if described:
        length = following - end
        file.seek(end)
        if not _describes(file.read(length) if 12 <= length <= 24 else b"", table_values):
            return at, f"the data descriptor of {name} is wrong"
        end = following
    return end, ""


def _describes(content: bytes, expected: tuple[int, int, int]) -> bool:
    """Whether a data descriptor (with or without signature, 32 or 64 bits) has the expected values."""
    content = content.removeprefix(b"PK\x07\x08") if len(content) in (16, 24) else content
    form = {12: "<LLL", 20: "<LQQ"}.get(len(content))
    return form is not None and struct.unpack(form, content) == expected


def _unpack(file: IO[bytes], form: struct.Struct, at: int) -> tuple[Any, ...] | None:
    if at < 0:
        return None
    file.seek(at)
    content = file.read(form.size)
    return form.unpack(content) if len(content) == form.size else None
