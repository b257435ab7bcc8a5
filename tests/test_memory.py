"""What is loaded is kept out of collections, in a process of our own alone."""

from __future__ import annotations

import gc
import subprocess
import sys

from pipeline.memory import keep_what_is_loaded

OWN = """
import gc
from pipeline.memory import keep_what_is_loaded, own_process
own_process()
keep_what_is_loaded()
assert gc.get_freeze_count() > 1000
"""


def test_what_is_loaded_is_kept_in_a_process_of_our_own():
    subprocess.run([sys.executable, "-c", OWN], check=True)


def test_the_collector_of_another_process_is_left_alone():
    before = gc.get_freeze_count()
    keep_what_is_loaded()
    assert gc.get_freeze_count() == before
