"""What is loaded is kept out of collections, in a process of our own alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

FROZEN = (
    "import gc; from pipeline.support import memory; {}; memory.freeze_loaded_objects(); "
    "print(gc.get_freeze_count())"
)


@pytest.mark.parametrize(("said", "kept"), [("memory.own_process()", True), ("pass", False)])
def test_loaded_objects_are_frozen_only_in_a_process_of_our_own(said, kept):
    done = subprocess.run([sys.executable, "-c", FROZEN.format(said)], check=True, capture_output=True, text=True)
    assert (int(done.stdout) > 1000) == kept
