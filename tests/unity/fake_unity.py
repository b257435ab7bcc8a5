"""Stands for a Unity editor in batch mode: takes its options and writes what it would write, for each way it ends.

What it does stands in FAKE_UNITY; FAKE_UNITY_VERSION is its version. The texts are phrases of public logs of build
servers and issue threads (game-ci/unity-builder#484, game-ci/unity-test-runner#105, game-ci/unity-orb#33,
game-ci/unity-actions#87); the results file has the shape of com.unity.test-framework 1.1.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

VERSION = "2021.3.24f1"
HEAD = """[Licensing::Module] Trying to connect to existing licensing client channel...
[Licensing::Module] Error: Access token is unavailable; failed to update
Built from '2021.3/staging' branch; Version is '2021.3.24f1 (cf10dcf7010d) revision 13570780'
COMMAND LINE ARGUMENTS:
-batchmode
"""
LICENSE = """No valid Unity Editor license found. Please activate your license.
Unity has not been activated with a valid License. Could be a new activation or renewal...
Exiting without the bug reporter. Application will terminate with return code 1
"""
OTHER_INSTANCE = """It looks like another Unity instance is running with this project open.

Multiple Unity instances cannot open the same project.
Aborting batchmode due to fatal error:
"""
PACKAGES = """[Package Manager] Done resolving packages in 4.03 seconds
An error occurred while resolving packages:
  Project has invalid dependencies:
    com.unity.barracuda: Package [com.unity.barracuda@9.9.9] cannot be found

A re-import of the project may be required to fix the issue or a manual modification of manifest.json file.
"""
COMPILE = """-----CompilerOutput:-stdout--exitcode: 1--compilationhadfailure: True--outfile: Temp/X.dll
{file}(12,5): error {error}
Assets/Other.cs(3,1): error CS0103: The name 'x' does not exist in the current context
-----EndCompilerOutput---------------
{file}(12,5): error {error}
Scripts have compiler errors.

Aborting batchmode due to failure:
Scripts have compiler errors.
"""
CRASH = """Caught fatal signal - signo:11 code:1 errno:0 addr:0x10
Obtained 12 stack frames.
#0  0x007f in funlockfile
=================================================================
\tNative Crash Reporting
=================================================================
"""
IMPORT = """Asset import failed, "Assets/StyleTransfer/Models/Mosaic/Mosaic.onnx" > OnnxImportException: While \
parsing layer y of type Erf.
Unknown type Erf encountered.
"""
ASSET = "Assets/StyleTransfer/Models/Mosaic/Mosaic.asset"
MESSAGES = {
    "passed": "",
    "failed": "  Golden frame of 'Mosaic': FAILED on CSharpBurst, worst difference 41.2, mean 3.1 levels of 255 "
    "(tolerance 1.5).\n  Expected: True\n  But was:  False\n",
    "no-network": "  Golden frame of 'Mosaic': the asset has no network. Check that the .onnx file next to it was "
    "imported without errors.\n",
}


def results(outcome: str, message: str, *, tests: bool = True) -> str:
    """A results file with one golden frame test, and one test of the project's own that fails."""
    name = f'ModelComputesItsGoldenFrame("{ASSET}")'
    fixture = "StyleTransfer.Tests.GoldenFrameTests"
    failure = (
        f"<failure><message><![CDATA[{message}]]></message><stack-trace><![CDATA[at X]]></stack-trace></failure>"
        if outcome == "Failed"
        else ""
    )
    case = (
        f'<test-suite type="TestFixture" id="1002" name="GoldenFrameTests" fullname="{fixture}" '
        f'result="{outcome}">'
        f'<test-case id="1003" name={quoteattr(name)} fullname={quoteattr(f"{fixture}.{name}")} '
        'methodname="ModelComputesItsGoldenFrame" runstate="Runnable" seed="1" '
        f'result="{outcome}" start-time="2026-01-01 00:00:00Z" duration="0.512345" asserts="1">'
        f"<properties />{failure}<output><![CDATA[{escape(name)}]]></output></test-case></test-suite>"
        if tests
        else ""
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<test-run id="2" testcasecount="2" result="{outcome}" total="2" engine-version="3.5.0.0">'
        '<test-suite type="TestSuite" id="1000" name="UnityProject" result="Failed">'
        '<test-case id="9" name="Own" fullname="Game.Tests.Own" result="Failed" duration="0" asserts="0"/>'
        f"{case}</test-suite></test-run>\n"
    )


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def main(arguments: list[str]) -> int:
    kind = os.environ.get("FAKE_UNITY", "passed")
    if "-version" in arguments:
        print(os.environ.get("FAKE_UNITY_VERSION", VERSION))
        return 0
    assert {"-batchmode", "-nographics", "-runTests"} <= set(arguments) and "-quit" not in arguments, arguments
    assert option(arguments, "-testPlatform") == "EditMode"
    assert option(arguments, "-assemblyNames") == "StyleTransfer.Tests"
    project = Path(option(arguments, "-projectPath"))
    assert (project / "Assets").is_dir() and (project / "Packages/manifest.json").is_file()
    (project / "Library").mkdir(exist_ok=True)  # as Unity does, and upgrades the project
    (project / "ProjectSettings/ProjectVersion.txt").write_text(
        f"m_EditorVersion: {os.environ.get('FAKE_UNITY_VERSION', VERSION)}\n"
    )
    log, out = Path(option(arguments, "-logFile")), Path(option(arguments, "-testResults"))

    def end(text: str, code: int, result: str | None = None) -> int:
        log.write_text(HEAD + text)
        if result is not None:
            out.write_text(result)
        return code

    ours = "Assets/StyleTransfer/Editor/GoldenFrames.cs"
    namespace = "CS0234: The type or namespace name 'Barracuda' does not exist in the namespace 'Unity'"
    match kind:
        case "passed" | "failed" | "no-network":
            outcome = "Passed" if kind == "passed" else "Failed"
            text = IMPORT if kind == "no-network" else ""
            return end(text, 0 if kind == "passed" else 2, results(outcome, MESSAGES[kind]))
        case "license":
            return end(LICENSE, 1)
        case "open":
            return end(OTHER_INSTANCE, 1)
        case "open-on-console":
            print(OTHER_INSTANCE, flush=True)
            return 134
        case "open-and-mute":
            (project / "Temp").mkdir(exist_ok=True)
            (project / "Temp/UnityLockfile").touch()
            return 134
        case "packages":
            return end(PACKAGES, 1)
        case "compile-package":
            return end(COMPILE.format(file=ours, error=namespace), 1)
        case "compile-ours":
            return end(COMPILE.format(file=ours, error="CS1002: ; expected"), 1)
        case "compile-theirs":
            return end(COMPILE.format(file="Assets/Game/Player.cs", error="CS1002: ; expected"), 1)
        case "compile-silent":
            return end("Scripts have compiler errors.\n", 1)
        case "crash":
            end(CRASH, 0)
            os.kill(os.getpid(), signal.SIGSEGV)
            return 0
        case "silent":
            return end("", 3)
        case "no-tests":
            return end("", 0, results("Passed", "", tests=False))
        case "skipped":
            return end("", 0, results("Skipped", ""))
        case "half":
            return end("", 137, results("Passed", "")[:300])
        case "hang":
            import subprocess

            child = subprocess.Popen(["sleep", "600"])
            Path(os.environ["FAKE_UNITY_CHILD"]).write_text(str(child.pid))
            time.sleep(600)
    return 64


def install(folder: Path) -> Path:
    """Puts a program into a folder that behaves like this; its path."""
    program = folder / "Unity"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
