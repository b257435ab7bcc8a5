"""Results files of Unity's test runner, and files that are none or mean harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity import nunit
from tests.unity.fake_unity import ASSET, MESSAGES, results


def read(tmp_path: Path, text: str | bytes) -> list[nunit.TestCase]:
    path = tmp_path / "results.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return nunit.read_results(path)


def test_the_golden_frames_are_read_and_no_other_test(tmp_path: Path) -> None:
    (test,) = read(tmp_path, results("Passed", ""))
    assert (test.argument, test.outcome, test.message, test.seconds) == (ASSET, "passed", "", 0.512345)
    (test,) = read(tmp_path, results("Failed", MESSAGES["failed"]))
    assert test.outcome == "failed" and test.message.startswith("Golden frame of 'Mosaic': FAILED")


@pytest.mark.parametrize("word", ["Exploded", "", "PASSED?"])
def test_an_outcome_that_is_unknown_is_not_a_success(tmp_path: Path, word: str) -> None:
    (test,) = read(tmp_path, results("Passed", "").replace('result="Passed"', f'result="{word}"'))
    assert test.outcome == "failed"


def test_a_duration_may_be_anything(tmp_path: Path) -> None:
    (test,) = read(tmp_path, results("Passed", "").replace("0.512345", "soon"))
    assert test.seconds == 0


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("doctype", [BOMB, OUTSIDE, "<!DOCTYPE x>"])
def test_a_document_type_is_refused_before_anything_in_it_counts(tmp_path: Path, doctype: str) -> None:
    text = results("Passed", "").replace("<test-run", f"{doctype}<test-run", 1)
    with pytest.raises(PipelineError, match="document type") as caught:
        read(tmp_path, text)
    assert caught.value.code == "unity-results-broken"


@pytest.mark.parametrize(
    "data",
    [b"", b"<html></html>", b"{}", b"<test-run", b"<?xml version='1.0' encoding='no-such'?><test-run/>", b"\0\1"],
)
def test_what_is_not_a_results_file_is_reported_in_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PipelineError) as caught:
        read(tmp_path, data)
    assert caught.value.code == "unity-results-broken" and "\n" not in str(caught.value)


def test_a_file_of_any_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nunit, "LARGEST", 100)
    with pytest.raises(PipelineError, match="bytes"):
        read(tmp_path, results("Passed", ""))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        nunit.read_results(tmp_path / "none.xml")
    assert caught.value.code == "file-not-found"
