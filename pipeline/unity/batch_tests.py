"""Runs the golden frame tests of a Unity project in batch mode, and explains the result.

Unity compares each style with its golden frame, on the worker CSharpBurst, so that no graphics device is needed.
A project of another Unity version is tested in a copy, because opening it would upgrade it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.support.errors import PipelineError
from pipeline.unity import editor_log
from pipeline.unity.editors import Editor, project_version
from pipeline.unity.nunit import TestCase, read_results
from pipeline.unity.project import check_project

ASSEMBLY = "StyleTransfer.Tests"
TIMEOUT = 1800
"""Seconds; the first start of a project imports everything in it."""

REPORTS = Path("Logs") / "StyleTransfer"
"""Where results and log lie in the project: Unity's own folder for logs, which no version control keeps."""

_REMEDIES = {
    "has no network": "Unity did not import the model. Run `pipeline validate` on it for the installed "
    "version, and build it for that target.",
    "do not belong together": "Build the style again and copy its whole folder.",
    "no golden pictures": "Build the style again; its folder is incomplete.",
    "cannot be read": "Restore the .png.meta files of the bundle: build it again with --force.",
    "could not be run": "The message is the package's own. Run `pipeline validate` on the model for the installed "
    "version.",
    "FAILED on": "The installed package computes something else than the source. Check that its version "
    "is the one that the style was built for, then run `pipeline compare SOURCE MODEL --bisect`, and report it.",
}
"""Part of a message of GoldenFrames.cs -> the remedy."""


@dataclass(frozen=True)
class UnityVerdict:
    """The result of Unity's tests. `editor` is None if only a results file was read."""

    tests: tuple[TestCase, ...]
    project: Path | None
    editor: Editor | None
    results: Path
    log: Path | None
    in_copy: bool = False
    importing: str = ""
    """The first complaint of the model's importer in the log."""

    @property
    def failures(self) -> tuple[TestCase, ...]:
        """The tests that did not pass."""
        return tuple(test for test in self.tests if test.outcome != "passed")

    @property
    def exit_code(self) -> int:
        """0 if every golden frame passed, else 1."""
        return 1 if self.failures else 0

    def remedy(self, test: TestCase) -> str:
        """What to do about a test that did not pass, "" where nothing is known."""
        return next((remedy for part, remedy in _REMEDIES.items() if part in test.message), "")

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "outcome": "failed" if self.failures else "passed",
            "unity": {"version": self.editor.version, "path": str(self.editor.path)} if self.editor else None,
            "project": str(self.project) if self.project else None,
            "in_copy": self.in_copy,
            "tests": [
                {
                    "asset": test.argument,
                    "outcome": test.outcome,
                    "message": test.message,
                    "remedy": self.remedy(test) if test.outcome != "passed" else "",
                    "seconds": test.seconds,
                }
                for test in self.tests
            ],
            "importer": self.importing,
            "results": str(self.results),
            "log": str(self.log) if self.log else None,
        }


def verdict_of(results: Path, log: Path | None = None) -> UnityVerdict:
    """Read the results file of an earlier run, such as game-ci's `editmode-results.xml`.

    Raises PipelineError `unity-results-broken`, `file-not-found`, `unity-no-tests`.
    """
    tests = _require_tests(read_results(results), results)
    importing = editor_log.import_error(editor_log.read_log(log)) if log else ""
    return UnityVerdict(tests, None, None, results, log, importing=importing)


def run_tests(project: Path, editor: Editor, *, timeout: float = TIMEOUT) -> UnityVerdict:
    """Run Unity on the project and read the results of its tests; may take minutes.

    Results and log go to the project's `Logs/StyleTransfer/`. Raises PipelineError `not-a-unity-project`,
    `no-style-in-project`, `unity-does-not-start`, `unity-timeout`, and what `editor_log.no_result` finds.
    """
    check_project(project)
    project = project.resolve()
    _require_a_style(project)
    reports = project / REPORTS
    reports.mkdir(parents=True, exist_ok=True)
    results, log = reports / "results.xml", reports / "editor.log"
    results.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    with _workspace(project, editor) as place, tempfile.TemporaryFile() as console:
        exit_code = _start(command(editor.path, place, results, log), log, timeout, console)
        console.seek(0)
        text = editor_log.read_log(log) + console.read().decode("utf-8", "replace")
    if not results.exists():
        raise editor_log.no_result(text, exit_code, log, place)
    tests = _require_tests(read_results(results), results)
    in_copy = place != project
    return UnityVerdict(tests, project, editor, results, log, in_copy, editor_log.import_error(text))


def command(unity: Path, project: Path, results: Path, log: Path) -> list[str]:
    """The command that starts the tests; without -quit, with which Unity would end before they run."""
    return [
        str(unity),
        "-batchmode",
        "-nographics",
        *("-projectPath", str(project)),
        "-runTests",
        *("-testPlatform", "EditMode"),
        *("-assemblyNames", ASSEMBLY),
        *("-testResults", str(results)),
        *("-logFile", str(log)),
    ]


def _require_a_style(project: Path) -> None:
    if any((project / "Assets").rglob("StyleTransfer/Models/*/*.asset")):
        return
    raise PipelineError(
        "no-style-in-project",
        "no style built by this pipeline was found under Assets",
        subject=str(project),
        remedy="Build one into the project: pipeline build-unity mosaic.pth --project PROJECT.",
    )


def _require_tests(tests: list[TestCase], results: Path) -> tuple[TestCase, ...]:
    if any(test.outcome in ("passed", "failed") for test in tests):
        return tuple(tests)
    raise PipelineError(
        "unity-no-tests",
        "Unity did not run any golden-frame test" if not tests else "every golden-frame test was skipped",
        subject=str(results),
        remedy="The bundle's tests are compiled only with the target's package and com.unity.test-framework in "
        "Packages/manifest.json; add both, and copy the bundle's Editor folder too.",
    )


@contextmanager
def _workspace(project: Path, editor: Editor) -> Iterator[Path]:
    """The project itself, or a copy of what is its own where the editor would upgrade it."""
    if not editor.version or editor.version == project_version(project):
        yield project
        return
    with tempfile.TemporaryDirectory(prefix="verify-unity-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) / project.name
        for name in ("Assets", "Packages", "ProjectSettings"):
            if (project / name).is_dir():
                shutil.copytree(project / name, place / name, symlinks=True)
        yield place


def _start(words: list[str], log: Path, timeout: float, console: IO[bytes]) -> int:
    """Run Unity and return its exit code; after `timeout` seconds its whole process group is killed.

    `console` gets what it prints: some failures come before it has a log.
    """
    try:
        # A group of its own: the editor starts importers and compilers, which must end with it.
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    except OSError as error:
        raise PipelineError(
            "unity-does-not-start",
            f"this cannot be started: {error.strerror or error}",
            subject=words[0],
            remedy="Name the program of a Unity editor with --unity.",
        ) from error
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise PipelineError(
            "unity-timeout",
            f"Unity did not finish within {timeout:g} seconds and was stopped",
            subject=str(log),
            remedy="Raise the limit with --timeout; the first start of a project imports everything in it.",
        ) from None
    finally:
        if process.poll() is None:
            _kill_process_group(process)


def _kill_process_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
