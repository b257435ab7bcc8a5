"""Types are checked, as strictly as pyproject.toml says."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_mypy_finds_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
