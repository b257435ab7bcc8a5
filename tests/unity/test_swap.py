from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity import swap


def _folder(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


@pytest.fixture(params=["exchange", "two renames"])
def any_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    return str(request.param)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no exchange of names")
def test_two_folders_exchange_their_names_in_one_step(tmp_path: Path) -> None:
    one, other = _folder(tmp_path / "one", "1"), _folder(tmp_path / "other", "2")
    assert swap.exchange(one, other)
    assert ((one / "file").read_text(), (other / "file").read_text()) == ("2", "1")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no exchange of names")
def test_an_exchange_with_nothing_is_an_error_and_not_a_system_without_exchange(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        swap.exchange(_folder(tmp_path / "one", "1"), tmp_path / "nothing")


def test_a_new_folder_takes_the_place_of_the_old(tmp_path: Path, any_system: str) -> None:
    _folder(tmp_path / "Live", "old")
    staged = _folder(swap.staging(tmp_path, "Live") / "Live", "new")
    swap.swap(staged, tmp_path, "Live")
    assert (tmp_path / "Live" / "file").read_text() == "new"
    swap.recover(tmp_path, "Live")
    assert os.listdir(tmp_path) == ["Live"]


def test_a_folder_where_nothing_was_is_one_rename(tmp_path: Path, any_system: str) -> None:
    staged = _folder(swap.staging(tmp_path, "Live"), "new")
    swap.swap(staged, tmp_path, "Live")
    assert os.listdir(tmp_path) == ["Live"]


def test_a_second_rename_that_fails_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    _folder(tmp_path / "Live", "old")
    staged = _folder(swap.staging(tmp_path, "Live") / "Live", "new")
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if source == staged:
            raise OSError(errno.EIO, "broken")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="broken"):
        swap.swap(staged, tmp_path, "Live")
    assert (tmp_path / "Live" / "file").read_text() == "old"


def test_a_build_killed_between_two_renames_is_undone(tmp_path: Path) -> None:
    _folder(swap.backup(tmp_path, "Live"), "old")
    _folder(swap.staging(tmp_path, "Live") / "Live", "new")
    assert swap.has_leftovers(tmp_path, "Live")
    swap.recover(tmp_path, "Live")
    assert (tmp_path / "Live" / "file").read_text() == "old"
    assert not swap.has_leftovers(tmp_path, "Live")


def test_a_build_killed_after_the_second_rename_counts(tmp_path: Path) -> None:
    _folder(swap.backup(tmp_path, "Live"), "old")
    _folder(tmp_path / "Live", "new")
    swap.recover(tmp_path, "Live")
    assert (tmp_path / "Live" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["Live"]


def test_names_of_half_done_folders_are_none_that_unity_imports(tmp_path: Path) -> None:
    for path in (swap.staging(tmp_path, "Live"), swap.backup(tmp_path, "Live")):
        assert path.name.startswith(".") and path.name.endswith("~")


def test_deleting_a_tree_does_not_follow_links(tmp_path: Path) -> None:
    outside = _folder(tmp_path / "outside", "stays")
    tree = _folder(tmp_path / "tree", "goes")
    (tree / "link").symlink_to(outside, target_is_directory=True)
    (tree / "closed").mkdir(mode=0o500)
    swap.delete_tree(tree)
    assert not tree.exists()
    assert (outside / "file").read_text() == "stays"
    swap.delete_tree(tree)


def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with swap.locked(tmp_path, "Live"):
            order.append("second")

    with swap.locked(tmp_path, "Live"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.15)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert os.listdir(tmp_path) == []


def test_a_build_that_never_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PATIENCE", 0.0)
    with swap.locked(tmp_path, "Live"), pytest.raises(PipelineError) as caught, swap.locked(tmp_path, "Live"):
        pass
    assert caught.value.code == "destination-busy"


def test_a_killed_build_lets_go_of_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.unity import swap\n"
        "with swap.locked(Path(sys.argv[1]), 'Live'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline().strip() == b"held"
        child.kill()
        child.wait()
    with swap.locked(tmp_path, "Live"):
        pass


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.ENOTDIR, "destination-is-file"),
        (errno.EACCES, "destination-not-writable"),
        (errno.EROFS, "destination-not-writable"),
        (errno.EIO, "destination-not-writable"),
    ],
)
def test_an_error_of_the_system_has_a_code_a_place_and_a_remedy(number: int, code: str, tmp_path: Path) -> None:
    error = swap.failure(OSError(number, os.strerror(number)), tmp_path)
    assert error.code == code
    assert error.subject == str(tmp_path)
    assert error.remedy
