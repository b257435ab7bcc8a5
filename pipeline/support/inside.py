"""Check that relative paths stay inside their folder on every system: used by every writer, for all names.

check_inside("StyleTransfer/Models/Mosaic/Mosaic.onnx")       # or PipelineError `unsafe-path`
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.support.errors import PipelineError

_DEVICES = re.compile(
    r"(?i:con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])"
)
"""Device names on Windows, with any extension (learn.microsoft.com, Naming Files)."""
_FORBIDDEN = re.compile(r'[\\:*?"<>|]')


def path_problem(path: str) -> str:
    """Why a relative path could leave its folder or mean another file on some system; "" if it is safe."""
    if not path or len(path) > 1000:
        return "it is empty or too long"
    if not path.isprintable() or _FORBIDDEN.search(path):
        return "it contains a character that is not allowed in file names on every system"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "it points outside the folder"
        if part[-1] in ". " or part[0] == " ":
            return "a name in it ends with a dot or a space"
        if _DEVICES.fullmatch(part.split(".")[0].rstrip()):
            return f"{part} is the name of a device on Windows"
    return ""


def check_inside(path: str) -> str:
    """The path itself, which is relative and has forward slashes, if it stays inside its folder on every system.

    Raises PipelineError `unsafe-path` for absolute paths, drive letters, backslashes, `.` and `..`, control
    characters and device names. It does not look for symbolic links: whoever opens the path must.
    """
    if problem := path_problem(path):
        raise PipelineError(
            "unsafe-path",
            f"this file name is not allowed: {problem}",
            subject=path,
            remedy="Nothing was written. If it came from the cache, empty that; else please report this.",
        )
    return path


def check_all_inside(paths: Iterable[str], root: str) -> None:
    """`check_inside` for several paths, which must be in the folder `root` or be its .meta file.

    Raises PipelineError `unsafe-path` also for two paths that differ only in case.
    """
    seen: dict[str, str] = {}
    for path in paths:
        check_inside(path)
        other = seen.setdefault(path.casefold(), path)
        outside = path != f"{root}.meta" and not path.startswith(f"{root}/")
        if outside or other != path:
            why = f"it is not in {root}" if outside else f"on Windows and macOS it is the same as {other}"
            raise PipelineError(
                "unsafe-path",
                f"this file name is not allowed: {why}",
                subject=path,
                remedy="Nothing was written. If it came from the cache, empty that; else please report this.",
            )
