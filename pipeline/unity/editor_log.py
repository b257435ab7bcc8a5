"""Finds in the log why Unity ended in batch mode without a test result, and the remedy.

The phrases are those that Unity 2019.4 to 6000.0 writes, as far as public CI logs and issue threads show them.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.support.errors import PipelineError

_MOST = 32 * 1024 * 1024
"""Bytes of a log that are read, from its end."""

_OTHER_INSTANCE = re.compile(
    r"another Unity instance is running with this project|Multiple Unity instances cannot open the same project",
    re.IGNORECASE,
)
_NO_LICENSE = re.compile(
    r"No valid Unity Editor license found[^\n]*|Unity has not been activated with a valid License[^\n]*|"
    r"Machine identification is invalid[^\n]*|Failed to activate/update license[^\n]*",
    re.IGNORECASE,
)
_PACKAGES = re.compile(r"An error occurred while resolving packages:\s*\n((?:[ \t]+\S[^\n]*\n?)+)")
_COMPILE_ERROR = re.compile(
    r"^(?P<file>[^\n(]+\.cs)\((?P<line>\d+),\d+\): error (?P<code>CS\d+): (?P<text>[^\n]*)", re.MULTILINE
)
_COMPILE_FAILED = re.compile(r"Scripts have compiler errors")
_CRASH = re.compile(r"Native Crash Reporting|^Crash!!!|Obtained \d+ stack frames", re.MULTILINE)

LOCK = Path("Temp") / "UnityLockfile"
"""What an open project has; a second Unity may end before it writes a log."""

_CRASH_CODES = frozenset({134, 136, 139, 0xC0000005, 0xC000001D, 0xC0000409})
"""Exit codes of programs that were ended by a fault: 128 + SIGABRT, SIGFPE, SIGSEGV; access violation and such."""


def read_log(path: Path) -> str:
    """The end of a log, "" where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _MOST))
            return file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""


def import_error(log: str) -> str:
    """The first error message of any family's importer about a model file, "" if there is none."""
    from pipeline import targets

    return next((found for name in targets.families() if (found := targets.family_of(name).import_error(log))), "")


def no_result(log: str, exit_code: int, log_path: Path, project: Path | None = None) -> PipelineError:
    """The error that explains why there is no result.

    `log` is what Unity wrote, into its log and to the console; `project` the folder that it was to open.
    """
    subject = str(log_path)
    locked = project is not None and not log and (project / LOCK).exists()
    if locked or _OTHER_INSTANCE.search(log):
        return PipelineError(
            "unity-project-open",
            "the project is already open in another Unity",
            subject=str(project or log_path),
            remedy="Close it there, then run the command again.",
        )
    if found := _PACKAGES.search(log):
        return PipelineError(
            "unity-packages",
            f"Unity cannot install the project's packages: {_line(found[1])}",
            subject=subject,
            remedy="Check Packages/manifest.json, and that this computer can reach packages.unity.com. A package "
            "with a relative path is not found from a copy: name an editor of the project's version with --unity.",
        )
    if errors := list(_COMPILE_ERROR.finditer(log)):
        return _compile_errors(errors, subject)
    if _COMPILE_FAILED.search(log):
        return PipelineError(
            "unity-compile-errors",
            "the project's scripts do not compile, and the log does not say why",
            subject=subject,
            remedy="Open the project in Unity and look at its console.",
        )
    if found := _NO_LICENSE.search(log):
        return PipelineError(
            "unity-no-license",
            f"Unity has no licence on this computer: {_line(found[0])}",
            subject=subject,
            remedy="Sign in to Unity Hub and add a licence (a Personal one is enough); on a build server see "
            "https://game.ci/docs/github/activation.",
        )
    if exit_code < 0 or exit_code in _CRASH_CODES or _CRASH.search(log):
        return PipelineError(
            "unity-crashed",
            f"Unity crashed (exit code {exit_code})",
            subject=subject,
            remedy="Run it again. If it happens again, delete the project's Library folder, which Unity "
            "regenerates.",
        )
    return PipelineError(
        "unity-no-results",
        f"Unity ended with exit code {exit_code} and wrote no results",
        subject=subject,
        remedy="Its log says why. The project needs the package com.unity.test-framework.",
    )


def _compile_errors(errors: list[re.Match[str]], subject: str) -> PipelineError:
    places = {(error["file"], error["line"], error["text"]): error for error in errors}
    first = next(iter(places.values()))
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    ours = "StyleTransfer/" in first["file"].replace("\\", "/")
    missing = ours and first["code"] in ("CS0234", "CS0246")
    if missing:
        remedy = (
            "A package is missing or has the wrong version: the bundle needs its target's package, and its tests "
            "need com.unity.test-framework. Build it again with --project, which adds the package."
        )
    elif ours:
        remedy = (
            "Build the bundle again with --force, which restores edited files; if it happens again, report it."
        )
    else:
        remedy = "This script is not part of the bundle. Fix it: Unity runs no tests while any script has errors."
    return PipelineError(
        "unity-compile-errors",
        f"{first['file']}({first['line']}): {first['code']}: {_line(first['text'])}{more}",
        subject=subject,
        remedy=remedy,
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".")
