"""Builds that are killed, at every step and at any moment, and builds that run at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.unity import swap
from pipeline.unity.writer import install
from tests.unity.bundles import small, tree

ROOT = "StyleTransfer"


def _states(folder: Path) -> dict[str, bytes | str]:
    """The bundle in a folder: half-done folders, which Unity does not see, do not count."""
    return {path: data for path, data in tree(folder).items() if not path.startswith(".")}


def _killed_after(steps: int, files: dict[str, bytes], place: Path) -> bool:
    """Installs in a forked process that ends, without any clean-up, before its n-th change of the disk."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            changes = event in ("os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.symlink")
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
            if changes or writes or event == "test.exchange":
                count += 1
                if count > steps:
                    os._exit(9)

        real = swap.exchange

        def exchange(one: Path, other: Path) -> bool:
            sys.audit("test.exchange")
            return real(one, other)

        swap.exchange = exchange
        sys.addaudithook(hook)
        try:
            install(files, place)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize("first", [True, False], ids=["first build", "rebuild"])
def test_a_build_killed_before_any_step_leaves_the_old_bundle_or_the_new(first: bool, tmp_path: Path) -> None:
    old: dict[str, bytes] = {} if first else small("1", more={"gone.txt": b"gone\n"})
    new = small("2")
    steps, seen = 0, set()
    while True:
        place = tmp_path / str(steps)
        place.mkdir()
        if old:
            install(old, place)
        killed = _killed_after(steps, new, place)
        state = _states(place)
        state_without_folder_meta = {path: data for path, data in state.items() if path != f"{ROOT}.meta"}
        assert state in (old, new) or (first and not state_without_folder_meta)
        seen.add(state == new)
        install(new, place)
        assert tree(place) == new, "the next build finishes the work and leaves nothing lying about"
        if not killed:
            break
        steps += 1
    assert steps > 10 and seen == {True, False}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_build_killed_where_names_cannot_be_exchanged_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    old, new = small("1"), small("2")
    steps, between = 0, 0
    while True:
        place = tmp_path / str(steps)
        place.mkdir()
        install(old, place)
        killed = _killed_after(steps, new, place)
        if not (place / ROOT).exists():
            between += 1
        swap.recover(place, ROOT)
        assert tree(place) in (old, new)
        if not killed:
            break
        steps += 1
    assert between == 1, "one moment, between the two renames"


_BUILDER = """
import sys
from pathlib import Path
from tests.unity.bundles import small
from pipeline.unity.writer import install
print("ready", flush=True)
while True:
    for content in "12":
        install(small(content), Path(sys.argv[1]))
"""


def test_a_killed_process_leaves_the_old_bundle_or_the_new(tmp_path: Path) -> None:
    expected = [small("1"), small("2")]
    install(expected[0], tmp_path)
    for attempt in range(6):
        command = [sys.executable, "-c", _BUILDER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline()
            time.sleep(0.01 + 0.007 * attempt)
            child.kill()
            child.wait()
        if sys.platform == "win32":
            swap.recover(tmp_path, ROOT)
        assert _states(tmp_path) in expected


def test_two_builds_at_once_both_arrive(tmp_path: Path) -> None:
    """Each swaps the whole folder, so without the lock one would undo the other."""
    code = _BUILDER.replace("while True:", "for _ in range(15):").replace("(content)", "(content, sys.argv[2])")
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], stdout=subprocess.DEVNULL)
        for name in ("Mosaic", "Candy")
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert tree(tmp_path).keys() == (small("2") | small("2", "Candy")).keys()
