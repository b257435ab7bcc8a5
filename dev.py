#!/usr/bin/env python3
"""The commands of this repository; each does all its own set-up. Needs Python 3.11 or newer, nothing else.

    python dev.py demo     build examples/mosaic.pth for Barracuda, Inference Engine and compute shaders
    python dev.py test     run the tests, as CI does
    python dev.py bundle   regenerate UnityProject/, after a change of the templates or the pipeline

Everything is written to `.venv/` and `demo/` next to this file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
DEMO = ROOT / "demo"
DEMOS = (
    ("Unity 2019.4 to 2022, Barracuda", "", ()),
    ("Unity 6, Inference Engine", "unity-6", ("--project-version", "6")),
    ("Any Unity version, compute shaders without a package", "compute", ("--target", "compute")),
)
"""The ways to run a network: title, folder below `demo`, options of build-unity."""
TORCH = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TOOLS = {
    "mcs": "mono-mcs",
    "mono": "mono-runtime",
    "monodis": "mono-utils",
    "glslangValidator": "glslang-tools",
}
"""What the tests run besides Python: the C# compiler and runtime, and the shader compiler, by Debian package."""
VULKAN_DRIVER = "mesa-vulkan-drivers"
"""Runs the shaders of the tests, in software where there is no GPU. Windows and macOS bring a driver."""
VULKAN_FOLDERS = ("/usr/share", "/usr/local/share", "/etc")
"""Where the Vulkan loader looks for `vulkan/icd.d/*.json`, besides XDG_DATA_DIRS."""
BROWSERS = (
    *("chromium-headless-shell", "chromium", "google-chrome", "chrome", "msedge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
"""Any of these shows the reports to the tests; the first is installed where none is there (90 MB, 12 s)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="build the example into a Unity project for each way to run it")
    test = commands.add_parser("test", help="run the tests")
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to pytest")
    commands.add_parser("bundle", help="regenerate UnityProject/")
    chosen = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python the user has
        print(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}.", file=sys.stderr)
        return 2
    match chosen.command:
        case "demo":
            return demo()
        case "bundle":
            return bundle()
        case _:
            return run_tests(chosen.arguments)


def demo() -> int:
    """Build the checkpoint that lies in the repository into a Unity project for each way to run it."""
    python = set_up("demo.txt")
    for title, folder, options in DEMOS:
        place = DEMO / folder
        place.mkdir(parents=True, exist_ok=True)
        picture = place / "side_by_side.png"
        print(f"\n{title}\n")
        source = ROOT / "examples" / "mosaic.pth"
        command = [python, "-m", "pipeline", "build-unity", source, *options, "--preview", picture]
        code = subprocess.call(command, cwd=place)
        if code != 0:
            return code
        print(f"\nUnity project  {place / 'UnityProject'}   (open it with Unity Hub, then press Play)")
        print(f"bundle         {place / 'UnityProject' / 'Assets' / 'StyleTransfer'}")
        print(f"side by side   {picture}")
    return 0


def bundle() -> int:
    """Regenerate UnityProject/: the built example and the demo scene; also after a merge conflict in it."""
    known = all(importlib.util.find_spec(name) for name in ("click", "onnx_graphsurgeon", "torch"))
    python = Path(sys.executable) if known else set_up("demo.txt")
    project = ROOT / "UnityProject"
    command = [python, "-m", "pipeline", "build-unity", ROOT / "examples" / "mosaic.pth", "--project", project]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    code = subprocess.call([*command, "--force", "--no-cache"], cwd=ROOT, env=environment)
    if code == 0:
        project_too = (
            "import pathlib, sys; from pipeline.unity import demo_project as p; p.write(pathlib.Path(sys.argv[1]))"
        )
        code = subprocess.call([python, "-c", project_too, project], cwd=ROOT, env=environment)
    return code


def run_tests(arguments: list[str]) -> int:
    """Run pytest in the locked environment; system tools are installed where that is possible."""
    if not have_tools():
        return 2
    python = set_up("test.txt")
    # One process per core and one thread each; the tests of a file stay together and share what it sets up.
    parallel = [] if arguments else ["--numprocesses", "auto", "--dist", "loadfile"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.call([python, "-m", "pytest", *parallel, *arguments], cwd=ROOT, env=environment)


def set_up(lock: str) -> Path:
    """A virtual environment with exactly the locked packages and this project; its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    lock_file = ROOT / "requirements" / lock
    alone = ROOT / "requirements" / "alone.txt" if lock == "test.txt" else None
    read = [path.read_bytes() for path in (lock_file, alone, ROOT / "pyproject.toml") if path is not None]
    state = hashlib.sha256(b"\0".join([*read, sys.version.encode()])).hexdigest()
    stamp = ENVIRONMENT / f"{lock}.stamp"
    if python.exists() and stamp.exists() and stamp.read_text() == state:
        return python
    print(f"setting up {ENVIRONMENT} ...", file=sys.stderr)
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    # Compiling all that torch brings takes longer than compiling, at the first import, what is imported.
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    install_torch(pip)
    subprocess.check_call([*pip, "--requirement", lock_file])
    if alone is not None:
        subprocess.check_call([*pip, "--no-deps", "--requirement", alone])
    subprocess.check_call([*pip, "--no-deps", "--editable", ROOT])
    stamp.write_text(state)
    return python


def install_torch(pip: list[str | Path]) -> None:
    """torch without CUDA: on Linux the default index holds a build of several gigabytes."""
    if sys.platform != "linux":
        subprocess.check_call([*pip, f"torch=={TORCH}"])
        return
    wanted = f"torch=={TORCH}+cpu"
    if subprocess.call([*pip, wanted], stderr=subprocess.DEVNULL) != 0:
        subprocess.check_call([*pip, wanted, "--extra-index-url", TORCH_CPU_INDEX])


def have_tools() -> bool:
    """Whether the system tools of the tests are there, after trying to install them."""
    missing = missing_tools()
    if not missing:
        return True
    if shutil.which("apt-get"):
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        print(f"installing {' '.join(missing)} ...", file=sys.stderr)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            try:
                subprocess.call([*sudo, "apt-get", *arguments], env=environment, **quiet)
            except OSError:
                break
        missing = missing_tools()
        if not missing:
            return True
    print(
        "The tests compile C#, run shaders and open a browser, and some of that is missing. Install it with:",
        file=sys.stderr,
    )
    print(f"  {install_line(missing)}", file=sys.stderr)
    return False


def missing_tools() -> list[str]:
    """The packages of the tools that are not there."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if sys.platform == "linux" and not have_vulkan_driver():
        missing.append(VULKAN_DRIVER)
    return missing if any(map(shutil.which, BROWSERS)) else [*missing, BROWSERS[0]]


def have_vulkan_driver() -> bool:
    """Whether the Vulkan loader finds a driver."""
    if os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES"):
        return True
    folders = [*VULKAN_FOLDERS, *filter(None, os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep))]
    return any(any(Path(folder, "vulkan", "icd.d").glob("*.json")) for folder in folders)


def install_line(packages: list[str]) -> str:
    """The one line that installs the tools on this system."""
    if sys.platform == "darwin":
        return "brew install mono glslang && brew install --cask google-chrome"
    if sys.platform == "win32":
        return "choco install mono vulkan-sdk googlechrome"
    return f"sudo apt-get install {' '.join(packages)}"


if __name__ == "__main__":
    sys.exit(main())
