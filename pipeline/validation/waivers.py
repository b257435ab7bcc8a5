"""The [validate] section of pipeline.toml: what to validate, for what, and which findings are accepted, and why.

[validate]
files = ["Assets/**/*.onnx"]        # relative to the file; what `pipeline validate` without FILE means
targets = ["barracuda-2.0", "barracuda-3.0"]
fail-on = "warning"

[[validate.waivers]]
code = "resize-coordinates-differ"  # required
file = "Assets/Style/*.onnx"        # the rest narrows it
node = "up*"
target = "barracuda-2.0"
reason = "half a pixel is not seen at this size"     # required
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline.support.configuration import SECTIONS
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import toml_file
from pipeline.validation.findings import Finding, Severity

_KEYS = {"files": list, "targets": list, "fail-on": str, "waivers": list}
_WAIVER = ("code", "file", "node", "target", "reason")


@dataclass(frozen=True)
class Waiver:
    """A finding that is accepted. Empty `file`, `node`, `target` mean any; `folder` is that of pipeline.toml."""

    code: str
    reason: str
    file: str = ""
    node: str = ""
    target: str = ""
    folder: Path = Path()
    config: Path = Path("pipeline.toml")

    def covers(self, file: Path, target: str) -> bool:
        """Whether it speaks of this file and target at all."""
        if self.target and self.target != target:
            return False
        return not self.file or bool(_pattern(self.file).fullmatch(_relative(file, self.folder)))

    def waives(self, finding: Finding, file: Path) -> bool:
        """Whether it accepts this finding in this file. In `node`, `*` stands for anything, `/` too."""
        if self.code != finding.code or not self.covers(file, finding.target):
            return False
        return not self.node or self.node == finding.node or fnmatchcase(finding.node, self.node)

    def __str__(self) -> str:
        narrowed = [f"{key} {value}" for key in ("file", "node", "target") if (value := getattr(self, key))]
        return ", ".join([self.code, *narrowed])

    def as_dict(self) -> dict[str, str]:
        return {key: getattr(self, key) for key in _WAIVER}


@dataclass(frozen=True)
class Settings:
    """What pipeline.toml says of validating; empty where it says nothing."""

    files: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()
    fail_on: Severity | None = None
    waivers: tuple[Waiver, ...] = ()


def waiver_of(finding: Finding, file: Path, waivers: Iterable[Waiver]) -> Waiver | None:
    """The first waiver that accepts the finding."""
    return next((waiver for waiver in waivers if waiver.waives(finding, file)), None)


def load_settings(path: Path, *, required: bool = False) -> Settings:
    """The settings of a pipeline.toml; the empty ones when it does not exist and is not required.

    Raises PipelineError `bad-config`, naming the key that is wrong.
    """
    try:
        data = toml_file(path)
    except FileNotFoundError:
        if required:
            raise PipelineError(
                "bad-config", "no such file exists", subject=str(path), remedy="Check the path of --config."
            ) from None
        return Settings()
    except ValueError as error:
        raise PipelineError(
            "bad-config",
            f"this is not valid TOML ({error})",
            subject=str(path),
            remedy="Correct the line that is named; docs/configuration.md shows the form.",
        ) from error
    _known(path, "", data, SECTIONS)
    table = data.get("validate", {})
    if not isinstance(table, dict):
        raise _wrong(path, "validate", "must be a table")
    _known(path, "validate", table, tuple(_KEYS))
    for key, value in table.items():
        if not isinstance(value, _KEYS[key]):
            raise _wrong(path, f"validate.{key}", f"must be {'text' if _KEYS[key] is str else 'a list'}")
    fail_on = table.get("fail-on")
    if fail_on is not None and fail_on not in list(Severity):
        raise _wrong(path, "validate.fail-on", f"must be one of {', '.join(Severity)}")
    return Settings(
        tuple(path.parent / name for name in _texts(path, "validate.files", table.get("files", []))),
        tuple(_texts(path, "validate.targets", table.get("targets", []))),
        Severity(fail_on) if fail_on else None,
        tuple(_waiver(path, number, row) for number, row in enumerate(table.get("waivers", []), 1)),
    )


def _waiver(path: Path, number: int, row: Any) -> Waiver:
    from pipeline import targets
    from pipeline.validation import codes

    where = f"validate.waivers[{number}]"
    if not isinstance(row, dict):
        raise _wrong(path, where, "must be a table: [[validate.waivers]]")
    _known(path, where, row, _WAIVER)
    for key, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise _wrong(path, f"{where}.{key}", "must be text, and not empty")
    for key in ("code", "reason"):
        if key not in row:
            raise _wrong(path, f"{where}.{key}", "is missing")
    if row["code"] not in codes():
        raise _wrong(path, f"{where}.code", f"is not the code of a finding{_near(row['code'], codes())}")
    if "target" in row and row["target"] not in targets.names(narrow=True):
        raise _wrong(path, f"{where}.target", f"is not a target{_near(row['target'], targets.names())}")
    return Waiver(**row, folder=path.parent, config=path)


def _texts(path: Path, key: str, values: list[Any]) -> list[str]:
    if not all(isinstance(value, str) and value for value in values):
        raise _wrong(path, key, "must be a list of texts")
    return values


def _known(path: Path, where: str, table: dict[str, Any], allowed: Iterable[str]) -> None:
    for key in table:
        if key not in allowed:
            raise _wrong(path, f"{where}.{key}".lstrip("."), f"is not known{_near(key, allowed)}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _wrong(path: Path, key: str, why: str) -> PipelineError:
    return PipelineError("bad-config", f"{key} {why}", subject=str(path), remedy="docs/ci.md lists every key.")


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        return file.as_posix()


def _pattern(glob: str) -> re.Pattern[str]:
    """A file glob as in .gitignore: `*` and `?` stay within a folder, `**` crosses folders."""
    pieces = []
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", glob.replace("\\", "/").removeprefix("./")):
        pieces.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece) or re.escape(piece))
    return re.compile("".join(pieces))
