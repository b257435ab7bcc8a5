"""A result with everything in it that a view of it must show."""

from __future__ import annotations

from pathlib import Path

from pipeline.support.errors import PipelineError
from pipeline.validation.files import Validation, Verdict
from pipeline.validation.findings import Finding, Severity
from pipeline.validation.python_lines import PythonLine
from pipeline.validation.waivers import Waiver

TARGETS = ("barracuda-1.0", "barracuda-3.0")
NASTY = 'n<&>"\x1b[31m\x00\n::error::%0A\u2028'
"""A node's name with what XML, a terminal, and a workflow command must not get as it is."""


def found(
    code: str = "unknown-operator",
    severity: str = "error",
    target: str = TARGETS[0],
    node: str = "act",
    **more: str,
) -> Finding:
    """A finding about a HardSwish; further fields by name."""
    reported = {
        "reason": f"{target} has no operator HardSwish",
        "fix": "Write it with others",
        "operator": "HardSwish",
        "source": "ONNXModelConverter.cs:2953@3.0.0",
    }
    return Finding(code, Severity(severity), target, node=node, **(reported | more))  # type: ignore[arg-type]


def full_result(folder: Path) -> Validation:
    """Two targets, four files: one with everything (waived, slow, a note, Python lines, odd names), one clean, one
    that only warns, one that cannot be read; and a waiver that is not used."""
    (folder / "net.py").write_text("import torch\n\ny = hardswish(x)\n")
    bad, clean = folder / "models" / "bad net.onnx", folder / "clean.onnx"
    warns, broken = folder / "warns.onnx", folder / "broken.onnx"
    lines = {
        "act": PythonLine("/home/u/net.py", 3, "forward", "y = hardswish(x)"),
        NASTY: PythonLine("/lib/x.py", 2),
    }
    waiver = Waiver("attribute-ignored", "seen and accepted", folder=folder, config=folder / "pipeline.toml")
    verdicts = []
    for target in TARGETS:
        waived = found(
            "attribute-ignored", "wrong", target, "pool", reason="ceil_mode is not read", where="ceil_mode"
        )
        findings = (
            found(target=target, console="OnnxImportException: Unknown type HardSwish"),
            found(target=target, node="act2"),
            found(target=target, node=NASTY),
            waived,
            found("reference-loop-on-cpu", "slow", target, "norm", operator="InstanceNormalization"),
            found("integer-precision", "note", target, "", operator=""),
        )
        verdicts.append(Verdict(bad, target, findings, {waived: waiver}, lines))
    verdicts += [Verdict(clean, target) for target in TARGETS]
    verdicts += [Verdict(warns, t, (found("softmax-axis-warning", "warning", t, "soft"),)) for t in TARGETS]
    error = PipelineError(
        "truncated-file", "the file is cut off", subject=str(broken), remedy="Download it again."
    )
    verdicts.append(Verdict(broken, "", error=error))
    unused = Waiver("slice-steps", "never needed", file="*.onnx", folder=folder, config=folder / "pipeline.toml")
    return Validation(tuple(verdicts), TARGETS, Severity.WRONG, (unused,))
