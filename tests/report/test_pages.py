"""The pages that are made from the data files."""

from __future__ import annotations

import re

import pytest

from pipeline import targets
from pipeline.report.pages import PAGES, all_targets, rules_of, support, write_pages
from pipeline.validation import codes
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_data_make_of_it(name):
    written = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/{name} is old: run `python -m pipeline.report.pages`"


def test_every_code_has_a_section_and_every_link_a_place():
    findings, operators = PAGES["findings.md"](), PAGES["targets.md"]()
    sections = re.findall(r"^## (.+)$", findings, re.MULTILINE)
    assert sections == sorted(codes())
    linked = re.findall(r"\(#([^)]+)\)", findings) + re.findall(r"\(findings.md#([^)]+)\)", operators)
    assert linked and set(linked) <= set(sections)


def test_every_code_is_known_from_somewhere():
    for code in codes():
        assert any(row["sources"] for row in rules_of(code)), code


def test_tables_have_as_many_cells_as_their_heads():
    for page in PAGES.values():
        widths = 0
        for line in page().splitlines():
            if not line.startswith("|"):
                widths = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line))
            assert widths in (0, cells), line
            widths = cells


def test_support_tells_no_limits_and_yes_apart():
    first, last = targets.get("barracuda-1.0"), targets.get("barracuda-3.0")
    assert support(last, "HardSwish") == "no"
    assert (support(first, "Acos"), support(last, "Acos")) == ("no", "yes")
    assert support(last, "Resize") == "limits"
    for target in all_targets():
        for name, facts in target.operators.items():
            harmless = all(rule.severity == "note" for rule in facts.rules)
            assert support(target, name) == ("yes" if harmless else "limits")


def test_the_pages_are_written_with_lf_and_utf8(tmp_path):
    for path in write_pages(tmp_path):
        content = path.read_bytes()
        assert content.decode("utf-8") == PAGES[path.name]() and b"\r" not in content


def test_sources_are_what_a_reader_can_find():
    """Lines of the packages' public code, pages of these docs, or that it was measured: no notes of our own."""
    stored = [*(REPOSITORY / "pipeline").rglob("*.json"), *(REPOSITORY / "docs").glob("*.md")]
    for path in stored:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(importer|measured|gpu|peers|systems)\.md", text), path
