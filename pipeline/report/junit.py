"""Render verdicts as JUnit XML for GitLab, Jenkins and others: one suite per target, one case per file.

The output is valid against the schema of Jenkins' xunit plugin (junit-10.xsd), the strictest one in use. It
contains no times and host names, so equal results have equal bytes.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pipeline.report.text import groups, sentence
from pipeline.support.plain_text import line
from pipeline.validation.files import Validation, Verdict


def render_junit(result: Validation) -> str:
    """The verdicts as JUnit XML.

    A file that cannot be read is an error in every suite; a finding at least as severe as `fail_on` is a failure;
    other findings and waived ones are in the output of the case.
    """
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
            warnings = [f"unused waiver in {w.config}: {w}" for w in result.unused]
            ET.SubElement(suite, "system-err").text = _clean(*warnings) + "\n"
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
    outputs: list[str] = []
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
            outputs.append(_clean(*lines))
    if outputs:
        ET.SubElement(case, "system-out").text = "\n\n".join(outputs)


def _clean(*lines: str) -> str:
    return "\n".join(line(text) for text in lines)
