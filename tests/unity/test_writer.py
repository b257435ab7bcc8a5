from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity import writer
from pipeline.unity.bundle import render
from pipeline.unity.manifest import manifest
from pipeline.unity.writer import install
from tests.unity.bundles import small, spec, tree

ROOT = "StyleTransfer"
MODEL = f"{ROOT}/Models/Mosaic"
STUB = f"{MODEL}/MosaicStyleTransfer.cs"


def _edit(path: Path, text: str = "edited by the user\n") -> None:
    path.unlink()
    path.write_text(text)


def _refused(act: Callable[[], object], code: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        act()
    assert caught.value.code == code
    assert caught.value.remedy
    return caught.value


# What is written, and what is not


def test_a_new_bundle_is_all_its_files_and_nothing_else(tmp_path: Path) -> None:
    files = render(spec())
    result = install(files, tmp_path)
    assert tree(tmp_path) == files
    assert result.written == tuple(files)
    assert (result.unchanged, result.kept, result.beside, result.removed) == ((), (), (), ())


def test_a_second_build_of_the_same_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(small(), tmp_path)
    monkeypatch.setattr(writer, "_apply", None)
    result = install(small(), tmp_path)
    assert result.unchanged == tuple(sorted(small()))
    assert not result.changed


def test_a_new_version_replaces_the_files_that_are_still_ours(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    result = install(small("2"), tmp_path)
    assert tree(tmp_path) == small("2")
    assert STUB in result.written and f"{STUB}.meta" in result.unchanged


def test_unchanged_files_stay_the_same_files_with_their_times(tmp_path: Path) -> None:
    """Unity imports by time and content: what is not new must not look new."""
    install(small("1"), tmp_path)
    before = os.stat(tmp_path / f"{STUB}.meta")
    install(small("2"), tmp_path)
    after = os.stat(tmp_path / f"{STUB}.meta")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_is_no_longer_made_is_removed_with_its_meta_and_its_empty_folder(tmp_path: Path) -> None:
    meta = b"fileFormatVersion: 2\nguid: x\n"
    install(small("1", more={"Old.meta": meta, "Old/old.cs": b"old\n", "Old/old.cs.meta": meta}), tmp_path)
    result = install(small("2"), tmp_path)
    assert tree(tmp_path) == small("2")
    assert result.removed == (f"{MODEL}/Old.meta", f"{MODEL}/Old/old.cs", f"{MODEL}/Old/old.cs.meta")


def test_a_file_that_is_no_longer_made_but_was_edited_stays_with_its_meta(tmp_path: Path) -> None:
    meta = b"fileFormatVersion: 2\nguid: x\n"
    install(small("1", more={"Old.meta": meta, "Old/old.cs": b"old\n", "Old/old.cs.meta": meta}), tmp_path)
    _edit(tmp_path / MODEL / "Old/old.cs")
    result = install(small("2"), tmp_path)
    assert result.kept == (f"{MODEL}/Old/old.cs",)
    assert {f"{MODEL}/Old.meta", f"{MODEL}/Old/old.cs", f"{MODEL}/Old/old.cs.meta"} <= tree(tmp_path).keys()
    assert result.removed == ()


def test_other_models_and_files_of_the_user_stay_untouched(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    install(small("1", name="Candy"), tmp_path)
    (tmp_path / ROOT / "Models" / "Candy" / "notes.txt").write_text("mine")
    (tmp_path / ROOT / "Empty").mkdir()
    (tmp_path / ROOT / "link").symlink_to("../elsewhere")
    before = tree(tmp_path)
    inode = os.stat(tmp_path / ROOT / "Models/Candy/Candy.onnx").st_ino
    install(small("2"), tmp_path)
    assert tree(tmp_path) == before | small("2")
    assert os.stat(tmp_path / ROOT / "Models/Candy/Candy.onnx").st_ino == inode
    assert tree(tmp_path)[f"{ROOT}/link"] == "-> ../elsewhere"


def test_where_hard_links_are_not_to_be_had_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_link)
    install(small("1"), tmp_path)
    install(small("1", name="Candy"), tmp_path)
    install(small("2"), tmp_path)
    assert tree(tmp_path) == small("1", name="Candy") | small("2")


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "Assets"
    planned = install(small("1"), place, dry_run=True)
    assert not place.exists()
    assert install(small("1"), place) == planned
    _edit(place / STUB)
    before = tree(place)
    planned = install(small("2"), place, dry_run=True)
    assert tree(place) == before
    assert install(small("2"), place) == planned


def test_a_destination_that_does_not_exist_is_made(tmp_path: Path) -> None:
    install(small(), tmp_path / "a" / "b")
    assert tree(tmp_path / "a" / "b") == small()


# What the user edited


def test_an_edited_file_stays_and_the_new_one_lies_beside_it(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    result = install(small("2"), tmp_path)
    assert (tmp_path / STUB).read_text() == "edited by the user\n"
    assert (tmp_path / f"{STUB}.new").read_bytes() == b"stub 2\n"
    assert (result.kept, result.beside) == ((STUB,), (f"{STUB}.new",))
    assert (tmp_path / MODEL / "Mosaic.onnx").read_bytes() == b"\0graph 2"


def test_an_edited_file_is_kept_when_the_same_is_built_again(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    for _ in range(2):
        result = install(small("1"), tmp_path)
        assert (result.kept, result.beside) == ((STUB,), (f"{STUB}.new",))
    assert not result.changed
    assert (tmp_path / STUB).read_text() == "edited by the user\n"


def test_the_file_beside_an_edited_one_follows_the_builds(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    install(small("2"), tmp_path)
    result = install(small("3"), tmp_path)
    assert (tmp_path / f"{STUB}.new").read_bytes() == b"stub 3\n"
    assert f"{STUB}.new" in result.written and result.kept == (STUB,)


def test_the_file_beside_goes_when_it_is_taken_over(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    install(small("2"), tmp_path)
    (tmp_path / STUB).write_bytes((tmp_path / f"{STUB}.new").read_bytes())
    (tmp_path / f"{STUB}.new.meta").write_text("made by the Unity editor")
    result = install(small("2"), tmp_path)
    assert tree(tmp_path) == small("2")
    assert result.removed == (f"{STUB}.new", f"{STUB}.new.meta")


def test_a_file_of_the_user_under_the_name_beside_is_not_overwritten_either(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    (tmp_path / f"{STUB}.new").write_text("half merged")
    result = install(small("2"), tmp_path)
    assert (tmp_path / f"{STUB}.new").read_text() == "half merged"
    assert (result.kept, result.beside) == ((STUB, f"{STUB}.new"), ())


def test_a_file_that_is_in_no_manifest_counts_as_the_users(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir(parents=True)
    (tmp_path / STUB).write_text("was here before\n")
    result = install(small("1"), tmp_path)
    assert (tmp_path / STUB).read_text() == "was here before\n"
    assert result.kept == (STUB,)


def test_a_broken_manifest_makes_every_changed_file_the_users(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / MODEL / "bundle.json", "{")
    result = install(small("2"), tmp_path)
    assert (tmp_path / STUB).read_bytes() == b"stub 1\n"
    assert result.kept == (f"{MODEL}/Mosaic.onnx", STUB)


def test_force_overwrites_what_was_edited(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB)
    install(small("1"), tmp_path)
    result = install(small("2"), tmp_path, force=True)
    assert tree(tmp_path) == small("2")
    assert (result.kept, result.removed) == ((), (f"{STUB}.new",))


def test_a_file_that_the_user_deleted_is_made_again(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    (tmp_path / STUB).unlink()
    assert install(small("1"), tmp_path).written == (STUB,)
    assert tree(tmp_path) == small("1")


def test_line_ends_that_git_converted_make_nothing_the_users(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / STUB, "stub 1\r\n")
    assert not install(small("1"), tmp_path).changed
    assert install(small("2"), tmp_path).kept == ()


def test_a_meta_that_the_editor_wrote_anew_stays_without_a_word(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / f"{STUB}.meta", "fileFormatVersion: 2\nguid: stub\nmore: 1\n")
    result = install(small("2"), tmp_path)
    assert "more: 1" in (tmp_path / f"{STUB}.meta").read_text()
    assert result.kept == () and f"{STUB}.meta" in result.unchanged


def test_a_meta_with_another_guid_is_named(tmp_path: Path) -> None:
    install(small("1"), tmp_path)
    _edit(tmp_path / f"{STUB}.meta", "fileFormatVersion: 2\nguid: another\n")
    assert install(small("1"), tmp_path).kept == (f"{STUB}.meta",)


def test_a_manifest_speaks_only_for_its_own_folder(tmp_path: Path) -> None:
    install(small("1", name="Candy"), tmp_path)
    (tmp_path / "outside.txt").write_text("mine")
    own = small("1")
    lies = {
        f"{MODEL}/../../../outside.txt": b"mine",
        "outside.txt": b"mine",
        f"{ROOT}/Models/Candy/Candy.onnx": b"\0graph 1",
    }
    install(own | {f"{MODEL}/bundle.json": manifest(lies), f"{ROOT}/bundle.json": manifest(lies)}, tmp_path)
    install(own, tmp_path)
    assert (tmp_path / "outside.txt").read_text() == "mine"
    assert (tmp_path / ROOT / "Models/Candy/Candy.onnx").exists()


# What is refused


def test_a_link_in_the_place_of_a_file_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    outside = tmp_path / "outside.cs"
    outside.write_text("not ours")
    place = tmp_path / "Assets"
    install(small("1"), place)
    (place / STUB).unlink()
    (place / STUB).symlink_to(outside)
    result = install(small("2"), place)
    assert result.kept == (STUB,)
    assert outside.read_text() == "not ours" and (place / STUB).is_symlink()
    install(small("2"), place, force=True)
    assert outside.read_text() == "not ours"
    assert (place / STUB).read_bytes() == b"stub 2\n" and not (place / STUB).is_symlink()


@pytest.mark.parametrize("content", ["stub 1\n", "stub 2\n", None], ids=["old", "new", "dangling"])
def test_a_link_is_the_users_whatever_it_points_to(content: str | None, tmp_path: Path) -> None:
    outside, place = tmp_path / "outside.cs", tmp_path / "Assets"
    install(small("1"), place)
    (place / STUB).unlink()
    (place / STUB).symlink_to(outside)
    if content is not None:
        outside.write_text(content)
    result = install(small("2"), place)
    assert (result.kept, result.beside) == ((STUB,), (f"{STUB}.new",))
    assert (place / STUB).is_symlink()
    assert outside.exists() == (content is not None)


@pytest.mark.parametrize("folder", [ROOT, f"{ROOT}/Runtime", MODEL])
def test_a_link_in_the_place_of_a_folder_is_refused(folder: str, tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "Assets"
    outside.mkdir()
    (place / folder).parent.mkdir(parents=True)
    (place / folder).symlink_to(outside, target_is_directory=True)
    before = tree(tmp_path)
    _refused(lambda: install(small(), place), "destination-is-symlink")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("file", ["Assets", f"Assets/{ROOT}", f"Assets/{MODEL}", ""])
def test_a_file_in_the_place_of_a_folder_is_refused(file: str, tmp_path: Path) -> None:
    base = tmp_path / "project"
    (base / file).parent.mkdir(parents=True, exist_ok=True)
    (base / file).write_text("a file")
    _refused(lambda: install(small(), base / "Assets"), "destination-is-file")
    _refused(lambda: install(small(), base / "Assets", dry_run=True), "destination-is-file")
    assert (base / file).read_text() == "a file"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / STUB).mkdir(parents=True)
    _refused(lambda: install(small(), tmp_path, force=True), "destination-is-folder")


@pytest.mark.parametrize("folder", ["styletransfer", f"{ROOT}/Models/mosaic"])
def test_a_name_that_differs_only_in_case_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    _refused(lambda: install(small(), tmp_path), "name-differs-in-case")


def _fails_at(monkeypatch: pytest.MonkeyPatch, number: int, allowed: int) -> None:
    real = Path.write_bytes
    count = 0

    def write_bytes(self: Path, data: bytes) -> int:
        nonlocal count
        count += 1
        if count > allowed:
            real(self, data[: len(data) // 2])
            raise OSError(number, os.strerror(number), str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk-full"), (errno.EDQUOT, "disk-full"), (errno.EROFS, "destination-not-writable")],
)
@pytest.mark.parametrize("allowed", [0, 3])
def test_a_write_that_fails_leaves_everything_as_it_was(
    number: int, code: str, allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "a" / "new"
    install(small("1"), old)
    _edit(old / STUB)
    before = tree(old)
    _fails_at(monkeypatch, number, allowed)
    _refused(lambda: install(small("2"), old), code)
    assert tree(old) == before
    _refused(lambda: install(small("2"), new), code)
    assert sorted(os.listdir(tmp_path)) == ["old"]


def test_a_destination_where_no_folder_can_be_made_is_not_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(path: object, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "mkdir", mkdir)
    error = _refused(lambda: install(small(), tmp_path), "destination-not-writable")
    assert str(tmp_path) in str(error) and "\n" not in str(error)


def test_a_swap_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(os, "rename", rename)
    _refused(lambda: install(small(), tmp_path / "Assets"), "destination-not-writable")
    assert os.listdir(tmp_path) == []
