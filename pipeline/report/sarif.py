"""Render verdicts as SARIF 2.1.0, for code scanning and editors.

Sources: the OASIS standard (sarif-v2.1.0-errata01), and GitHub's "SARIF support for code scanning", which requires
a relative URI and a start line in every location, and matches results between runs by their partial fingerprints.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import quote

from pipeline.report.text import sentence
from pipeline.support.plain_text import dump_json
from pipeline.support.version import __version__
from pipeline.validation.files import Validation, Verdict
from pipeline.validation.findings import Finding, Severity
from pipeline.validation.waivers import Waiver

LEVELS = {
    Severity.ERROR: "error",
    Severity.WRONG: "error",
    Severity.WARNING: "warning",
    Severity.SLOW: "note",
    Severity.NOTE: "note",
}
FINGERPRINT = "pipelineFinding/v1"
"""Name of the fingerprint: a hash of code, target, file, operator, node and attribute or input. Reasons are not
included, because they may be reworded."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render_sarif(result: Validation, *, folder: Path | None = None) -> str:
    """One SARIF run with one result per finding. URIs of files in `folder` (default: the current one) are
    relative.

    Where the user's Python line of a node is known, it is the location if that file is in `folder`, and a related
    location otherwise; the model file is the other one of the two.
    """
    folder = (folder or Path.cwd()).resolve()
    codes = sorted({f.code for verdict in result.verdicts for f in verdict.findings})
    index = {code: number for number, code in enumerate(codes)}
    seen: Counter[str] = Counter()
    run = {
        "tool": {
            "driver": {
                "name": "pipeline validate",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(code, result) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "automationDetails": {"id": f"pipeline-validate/{'+'.join(result.targets)}/"},
        "invocations": [_invocation(result, folder)],
        "results": [
            _result(finding, verdict, index[finding.code], folder, seen)
            for verdict in result.verdicts
            for finding in verdict.findings
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return dump_json(log) + "\n"


def _rule(code: str, result: Validation) -> dict[str, Any]:
    from pipeline.validation import codes

    entry = codes()[code]
    worst = min(
        (f.severity for verdict in result.verdicts for f in verdict.findings if f.code == code),
        key=lambda severity: severity.rank,
    )
    remedy = sentence(entry["remedy"])
    return {
        "id": code,
        "name": "".join(part.capitalize() for part in code.split("-")),
        "shortDescription": {"text": sentence(entry["title"])},
        "fullDescription": {"text": sentence(entry["explanation"])},
        "help": {
            "text": f"{sentence(entry['explanation'])}\n\nWhat to do: {remedy}",
            "markdown": f"{sentence(entry['explanation'])}\n\n**What to do:** {remedy}",
        },
        "defaultConfiguration": {"level": LEVELS[worst]},
    }


def _result(finding: Finding, verdict: Verdict, rule: int, folder: Path, seen: Counter[str]) -> dict[str, Any]:
    sentences = [f"{finding.target}: {finding.operator} {finding.node}".rstrip(), sentence(finding.reason)]
    if finding.console:
        sentences.append(f'Unity says: "{finding.console}"')
    line = verdict.lines.get(finding.node)
    if line is not None:
        sentences.append(f"Created by {line}.")
    sentences.append(f"Fix: {finding.fix}")
    model: dict[str, Any] = {"physicalLocation": _physical(_uri(verdict.file, folder), 1)}
    python = None
    if line is not None:
        inside = line.below(folder)
        python = {
            "physicalLocation": _physical(quote(inside) if inside else _foreign(line.file), max(line.line, 1)),
            "message": {"text": f"{finding.operator} {finding.node} is created here: {line}"},
        }
        if inside:
            model, python = python, model | {"message": {"text": f"the model: {verdict.name}"}}
    if finding.node:
        model["logicalLocations"] = [{"name": finding.node, "kind": "node", "fullyQualifiedName": finding.node}]
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": " ".join(sentences)},
        "locations": [model],
        "partialFingerprints": {FINGERPRINT: _fingerprint(finding, verdict, folder, seen)},
        "properties": {
            "severity": finding.severity.value,
            "target": finding.target,
            "operator": finding.operator,
            "where": finding.where,
            "backends": list(finding.backends),
            "source": finding.source,
        },
    }
    if python is not None:
        result["relatedLocations"] = [python | {"id": 0}]
    waiver = verdict.waivers.get(finding)
    if waiver is not None:
        result["suppressions"] = [{"kind": "external", "justification": waiver.reason}]
    return result


def _fingerprint(finding: Finding, verdict: Verdict, folder: Path, seen: Counter[str]) -> str:
    parts = (
        finding.code,
        finding.target,
        _uri(verdict.file, folder),
        finding.operator,
        finding.node,
        finding.where,
    )
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


def _physical(uri: str, line: int) -> dict[str, Any]:
    return {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}


def _uri(path: Path, folder: Path) -> str:
    """The URI of a file: relative to `folder` for a file inside it, else absolute."""
    whole = path if path.is_absolute() else folder / path
    for candidate in (whole, whole.resolve()):
        if candidate.is_relative_to(folder) and ".." not in candidate.parts:
            return quote(candidate.relative_to(folder).as_posix().encode("utf-8", "surrogateescape"))
    return whole.resolve().as_uri()


def _foreign(file: str) -> str:
    """The URI of a path on the machine where the model was exported."""
    if "\\" in file or file[1:2] == ":":
        path = PureWindowsPath(file)
        return path.as_uri() if path.is_absolute() else quote(path.as_posix())
    return ("file://" if file.startswith("/") else "") + quote(file)


def _invocation(result: Validation, folder: Path) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": result.exit_code != 2,
        "exitCode": result.exit_code,
    }
    errors = [(v, v.error) for v in result.verdicts if v.error is not None]
    if errors:
        invocation["toolExecutionNotifications"] = [
            {
                "level": "error",
                "message": {"text": str(error)},
                "descriptor": {"id": error.code},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(verdict.file, folder)}}}],
            }
            for verdict, error in errors
        ]
    if result.unused:
        invocation["toolConfigurationNotifications"] = [_unused(waiver) for waiver in result.unused]
    return invocation


def _unused(waiver: Waiver) -> dict[str, Any]:
    return {
        "level": "warning",
        "message": {"text": f"No finding matches this waiver: {waiver}"},
        "descriptor": {"id": "unused-waiver"},
    }
