"""Read zip archives safely: refuse every archive that two zip readers could read differently.

Zip readers disagree about duplicate names (first or last wins), upper and lower case, contradictions between the
two headers of a member, and data before the archive. A check with one reader proves nothing about what another
reader sees. So each archive is read once, here, and what is passed on to torch is a new archive that `rebuilt`
writes from the checked members.
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
from pipeline.sources.zip_layout import layout_fault
from pipeline.support.errors import PipelineError

MAX_TOTAL = 8 << 30
"""Most bytes that an archive may unpack to."""
MAX_RATIO = 200
"""Ratio of unpacked size to file size above which an archive is treated as a zip bomb."""
MAX_MEMBERS = 100_000
_UNICODE_PATH = 0x7075
"""Extra field in which Info-ZIP keeps another name (APPNOTE.TXT 4.6.9)."""


def check_sizes(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Refuse archives that would unpack to absurd sizes. Raises PipelineError `zip-bomb`."""
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
    """Refuse archives that two readers could read differently. Raises PipelineError `ambiguous-archive`."""
    if odd := layout_fault(archive):
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
    path: Path, data: bytes, allowed: Callable[[str], bool], needed: Callable[[str], bool]
) -> dict[str, bytes]:
    """The contents of an archive's members, by their names below its common folder.

    Only members for which `needed` is true are unpacked. Raises PipelineError `zip-bomb`, `ambiguous-archive`,
    `over-budget`, and `unsafe-program` for a member for which `allowed` is false.
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
                    remedy=SAVE_WEIGHTS_REMEDY,
                )
            if needed(short):
                budget.take(entry.file_size)
                members[short] = archive.read(entry)
    return members


SAVE_WEIGHTS_REMEDY = (
    "Nothing was run. If you trust it, load it and save only the weights: torch.save(model.state_dict(), "
    "'network.pth')."
)


def common_folder(names: list[str]) -> str:
    """The folder that contains all members, with its slash; "" if there is none."""
    roots = {name.partition("/")[0] if "/" in name else "" for name in names}
    (root, *others) = roots or {""}
    return f"{root}/" if root and not others else ""


def rebuilt(members: Mapping[str, bytes], folder: str = "archive") -> bytes:
    """A new, uncompressed archive with only these members."""
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
