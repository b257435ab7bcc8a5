"""Zip archives of which two readers cannot read two things.

Readers of zip files disagree: about duplicate names (the first or the last), about upper and lower case, about
what the two headers of a member say, about text before the archive. Whoever checks an archive with one reader and
opens it with another has checked nothing. So an archive is read here, once, and what is handed on is made of what
was read: `rebuilt` writes a new archive.
"""

from __future__ import annotations

import io
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.sources.budget import Budget
from pipeline.sources.zip_layout import what_is_odd
from pipeline.support.errors import PipelineError

MAX_TOTAL = 8 << 30
"""Bytes that a file may unpack to."""
MAX_RATIO = 200
"""Unpacked size over file size above which an archive is taken for a zip bomb."""
MAX_MEMBERS = 100_000
_UNICODE_PATH = 0x7075
"""Extra field in which Info-ZIP keeps another name (APPNOTE.TXT 4.6.9)."""


def check_sizes(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Refuse archives that unpack to absurd sizes (code zip-bomb), before anything is unpacked."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if total > MAX_TOTAL or total > MAX_RATIO * size or packed > size or len(entries) > MAX_MEMBERS:
        raise PipelineError(
            "zip-bomb",
            f"the archive of {size:,} bytes would unpack to {total:,} bytes in {len(entries):,} members, much "
            "more than any network",
            subject=str(path),
            remedy="Nothing was unpacked. Get the file from a source that you trust.",
        )


def check_agreement(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse archives of which two readers could read two things: PipelineError `ambiguous-archive`."""
    if odd := what_is_odd(archive):
        raise _ambiguous(path, odd)
    seen: dict[str, str] = {}
    for entry in archive.infolist():
        name = entry.filename
        key = unicodedata.normalize("NFKC", name).casefold()
        if key in seen:
            same = "the same name" if seen[key] == name else "names that differ only in case"
            raise _ambiguous(path, f"two of its members have {same} ({name[:80]!r})")
        seen[key] = name
        parts = name.removesuffix("/").split("/")
        if entry.orig_filename != name or "\\" in name or not name.isprintable() or {"", ".", ".."} & set(parts):
            raise _ambiguous(path, f"a member has the name {entry.orig_filename[:80]!r}")
        if entry.flag_bits & 1:
            raise _ambiguous(path, f"the member {name[:80]!r} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _ambiguous(path, f"the member {name[:80]!r} is compressed by method {entry.compress_type}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _ambiguous(path, f"the member {name[:80]!r} is a link")
        if _UNICODE_PATH in _extra_fields(entry.extra):
            raise _ambiguous(path, f"the member {name[:80]!r} has a second name")


def _extra_fields(extra: bytes) -> set[int]:
    found, at = set(), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        found.add(kind)
        at += 4 + length
    return found


def read_members(
    path: Path, data: bytes, allowed: Callable[[str], bool], wanted: Callable[[str], bool]
) -> dict[str, bytes]:
    """The members of an archive in memory, by their names below its one folder; only `wanted` ones are unpacked.

    Raises PipelineError `zip-bomb`, `ambiguous-archive`; `unsafe-program` where a name is not `allowed`.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_sizes(path, archive, len(data))
        check_agreement(path, archive)
        entries = {entry.filename: entry for entry in archive.infolist()}
        root = common_folder(list(entries))
        budget = Budget(path, len(data))
        members: dict[str, bytes] = {}
        for name, entry in entries.items():
            short = name.removeprefix(root)
            if not allowed(short):
                raise PipelineError(
                    "unsafe-program",
                    f"the archive contains {short[:80]!r}, which is not part of a network",
                    subject=str(path),
                    remedy=WAY_OUT,
                )
            if wanted(short):
                budget.take(entry.file_size)
                members[short] = archive.read(entry)
    return members


WAY_OUT = (
    "Nothing was run. If you trust it, load it and save only the weights: torch.save(model.state_dict(), "
    "'network.pth')."
)


def common_folder(names: list[str]) -> str:
    """The one folder, with its slash, in which all members lie; "" if they do not."""
    roots = {name.partition("/")[0] if "/" in name else "" for name in names}
    (root, *others) = roots or {""}
    return f"{root}/" if root and not others else ""


def rebuilt(members: Mapping[str, bytes], folder: str = "archive") -> bytes:
    """A new archive of only these members, stored uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), content)
    return buffer.getvalue()


def _ambiguous(path: Path, detail: str) -> PipelineError:
    return PipelineError(
        "ambiguous-archive",
        f"{detail}: different programs would read different content from this archive",
        subject=str(path),
        remedy="Nothing was run. Save the network again with torch.save, torch.jit.save or torch.export.save.",
    )
