"""Reads the NUnit 3 results of Unity's test runner, as an untrusted file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from pipeline.support.errors import PipelineError

LARGEST = 64 * 1024 * 1024
"""Bytes of a results file that are read at most; those of a thousand tests have less than one million."""

FIXTURE = "StyleTransfer.Tests.GoldenFrameTests"
"""Full name of the class in the bundle whose cases are the golden frames."""


@dataclass(frozen=True)
class TestCase:
    """One test. `outcome`: passed, failed, skipped or inconclusive. `argument`: the style's asset path."""

    name: str
    argument: str
    outcome: str
    message: str
    seconds: float

    __test__ = False  # no class of tests, whatever pytest thinks of its name


class _NoDoctype(ET.TreeBuilder):
    """Refuses a document type: only it can hold entities, and Unity writes none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a document type declaration, which Unity never writes")


def read_results(path: Path) -> list[TestCase]:
    """The golden frame tests in a results file, in its order; other tests of the project are left out.

    Raises PipelineError `unity-results-broken` for what is not a results file, `file-not-found`.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PipelineError(
            "file-not-found", "no such file exists", subject=str(path), remedy="Check the path."
        ) from error
    if size > LARGEST:
        raise _broken(path, f"it has {size:,} bytes")
    try:
        root = ET.fromstring(path.read_bytes(), ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise _broken(path, str(error)) from None
    if root.tag != "test-run":
        raise _broken(path, f"its root is <{root.tag[:40]}>, not <test-run>")
    return [_case(node) for node in root.iter("test-case") if node.get("fullname", "").startswith(FIXTURE)]


def _case(node: ET.Element) -> TestCase:
    name = node.get("name", "")
    _, _, argument = name.partition('("')
    try:
        seconds = float(node.get("duration", "0"))
    except ValueError:
        seconds = 0.0
    outcome = node.get("result", "").lower()
    return TestCase(
        name=name,
        argument=argument.removesuffix('")'),
        # Anything unheard of is not a success.
        outcome=outcome if outcome in ("passed", "failed", "skipped", "inconclusive") else "failed",
        message=(node.findtext("failure/message") or node.findtext("reason/message") or "").strip(),
        seconds=seconds,
    )


def _broken(path: Path, reason: str) -> PipelineError:
    return PipelineError(
        "unity-results-broken",
        f"this is not a results file of Unity's test runner: {reason}",
        subject=str(path),
        remedy="Run the tests again; Unity may have been stopped while it wrote the file.",
    )
