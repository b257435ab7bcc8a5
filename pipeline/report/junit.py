"""Verdicts as JUnit XML, for GitLab, Jenkins and their like: a suite per target, a case per file.

Valid against the schema of Jenkins' xunit plugin (junit-10.xsd), which is the strictest one in use; without times
and host names, so that equal results are equal bytes.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pipeline.report.text import groups, sentence
from pipeline.support.plain_text import line
from pipeline.validation.files import Validation, Verdict


def render_junit(result: Validation) -> str:
    """A suite per target. A file that cannot be read is an error in every suite, a finding that reaches `fail_on`
    a failure; milder and waived findings stand in the case's output."""
    root = ET.Element("testsuites", name="pipeline validate")
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for target in result.targets:
        verdicts = [v for v in result.verdicts if v.target == target or v.error is not None]
        counts = {
            "tests": len(verdicts),
            "failures": sum(bool(v.failing(result.fail_on)) for v in verdicts),
            "errors": sum(v.error is not None for v in verdicts),
        }
        totals = {key: totals[key] + count for key, count in counts.items()}
        suite = ET.SubElement(root, "testsuite", {"name": target} | {k: str(v) for k, v in counts.items()})
        for verdict in verdicts:
            _case(suite, verdict, target, result)
        if result.unused:
            told = [f"unused waiver in {w.config}: {w}" for w in result.unused]
            ET.SubElement(suite, "system-err").text = _clean(*told) + "\n"
    root.attrib.update({key: str(count) for key, count in totals.items()})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, verdict: Verdict, target: str, result: Validation) -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(verdict.name), classname=target)
    if verdict.error is not None:
        error = ET.SubElement(case, "error", type=verdict.error.code, message=_clean(verdict.error.message))
        error.text = _clean(str(verdict.error))
        return
    failing = set(verdict.failing(result.fail_on))
    told: list[str] = []
    for group in groups([verdict]):
        first = group.first
        lines = [f"{first.severity} [{first.code}] {group.place or 'the graph'}: {sentence(first.reason)}"]
        lines += [f"Unity says: {first.console}"] if first.console else []
        lines += [f"Python: {group.line}"] if group.line else []
        lines += [f"Waived: {group.waived}"] if group.waived else [f"Fix: {first.fix}"]
        if first in failing:
            failure = ET.SubElement(case, "failure", type=first.code, message=_clean(lines[0]))
            failure.text = _clean(*lines)
        else:
            told.append(_clean(*lines))
    if told:
        ET.SubElement(case, "system-out").text = "\n\n".join(told)


def _clean(*lines: str) -> str:
    return "\n".join(line(held) for held in lines)
