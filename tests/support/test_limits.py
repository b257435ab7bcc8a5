"""Limits of memory and time: what their errors propose is enough."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.support import limits


@pytest.mark.parametrize(
    ("needed", "limit", "variable"),
    [
        ("more than the limit", 4 << 30, "16G"),
        ("13.4 GiB (Expand k)", 4 << 30, "17G"),
        ("1,144.4 GiB (Expand k)", 4 << 30, "1431G"),
        ("more than the limit", 32 << 30, "128G"),
        ("300 MiB", 100 << 20, "16G"),
    ],
)
def test_the_limit_that_is_proposed_is_enough(needed, limit, variable):
    assert limits.too_much_memory("running it", needed, limit).error.remedy.endswith(f"={variable}.")


def test_the_time_that_is_proposed_is_longer_than_the_limit():
    assert limits.too_much_time("running it", 30).error.remedy.endswith("=3600.")
    assert limits.too_much_time("running it", 7200).error.remedy.endswith("=28800.")


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is there, and does nothing elsewhere")
@pytest.mark.parametrize(
    ("command", "kilobytes"),
    [("validate", 120_000), ("inspect", 300_000), ("convert", 300_000), ("build-unity", 900_000)],
)
def test_a_small_address_space_is_one_line(tmp_path, command, kilobytes):
    """Libraries of C end the process where they get no memory: that is seen before they are loaded."""
    path = tmp_path / "a.onnx"
    path.write_bytes(b"x")
    line = f"ulimit -v {kilobytes}; exec {sys.executable} -m pipeline {command} {path}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and not done.stdout
    (reported,) = done.stderr.splitlines()
    assert reported.startswith("error [out-of-memory]") and "ulimit -v" in reported and "MiB" in reported
