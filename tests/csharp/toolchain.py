"""Compilers for the generated C# and the shader: found here, or the test fails and says what to install.

`mcs` (Debian package mono-mcs) compiles C# up to 7.2, `mono` (mono-runtime) runs it, `monodis` (mono-utils) shows
the compiled instructions, `glslangValidator` (glslang-tools) compiles HLSL.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TEMPLATES = REPOSITORY / "unity_templates"
STUBS = Path(__file__).resolve().parent / "stubs"

PACKAGES = "mono-mcs mono-runtime mono-utils glslang-tools mesa-vulkan-drivers"
INSTALL = f"apt-get install -y --no-install-recommends {PACKAGES}"

UNITY_DEFINES = ("UNITY_EDITOR", "UNITY_2018_4_OR_NEWER", "UNITY_2019_3_OR_NEWER", "UNITY_2019_4_OR_NEWER")

# Serialised fields are assigned by Unity, not by code: 0649 never assigned, 0169 never used, 0414 never read.
FLAGS = ("-langversion:7.2", "-warn:4", "-warnaserror", "-nowarn:0649,0169,0414")


@functools.cache
def tool(name: str) -> str:
    """The path of a tool; fails the test if it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing. Install the compilers of the Unity tests: {INSTALL}", pytrace=False)
    return path


def run(
    *command: str | Path, cwd: Path | None = None, libraries: Sequence[Path] = (), stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a command, the first word of which is a tool's name; mono finds assemblies in `libraries` too."""
    words = [tool(str(command[0])), *map(str, command[1:])]
    env = {**os.environ, "MONO_PATH": os.pathsep.join(map(str, libraries))} if libraries else None
    return subprocess.run(words, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=120)


def compile_csharp(
    out: Path,
    sources: Sequence[Path],
    references: Sequence[Path] = (),
    defines: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Compiles sources into a library (.dll) or a program (.exe); the caller looks at the exit status."""
    out.parent.mkdir(parents=True, exist_ok=True)
    kind = "exe" if out.suffix == ".exe" else "library"
    options = [f"-target:{kind}", f"-out:{out}", *FLAGS]
    options += [f"-r:{path}" for path in references] + [f"-d:{name}" for name in defines]
    return run("mcs", *options, *sources)


def must_compile(
    out: Path,
    sources: Sequence[Path],
    references: Sequence[Path] = (),
    defines: Sequence[str] = (),
) -> Path:
    """Compiles, and fails the test with the compiler's words otherwise."""
    done = compile_csharp(out, sources, references, defines)
    if done.returncode:
        pytest.fail(f"{out.name} does not compile\n{done.stdout}{done.stderr}", pytrace=False)
    return out


def sources_of(folder: str) -> list[Path]:
    """The C# files directly in a folder of unity_templates: one assembly, as its asmdef makes it."""
    found = sorted((TEMPLATES / folder).glob("*.cs"))
    assert found, f"no C# in {folder}"
    return found
