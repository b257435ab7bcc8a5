"""How large the error is that a target makes of a file: what a `wrong` finding comes to in the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.support.errors import LimitReached
from pipeline.validation.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

    from pipeline.targets import Target

_OPEN = 64
"""Elements along an axis whose size the file leaves open."""


def measured(findings: Iterable[Finding], model: onnx.ModelProto, target: Target) -> tuple[Finding, ...]:
    """The findings, the `wrong` ones with what they come to, together, in the first output."""
    findings = tuple(findings)
    severities = {f.severity for f in findings}
    if Severity.WRONG not in severities or Severity.ERROR in severities:
        return findings
    error = visible_error(model, target)
    if not error:
        return findings
    return tuple(
        replace(finding, reason=f"{finding.reason} ({error})") if finding.severity == Severity.WRONG else finding
        for finding in findings
    )


def visible_error(model: onnx.ModelProto, target: Target) -> str:
    """What `target` makes of noise against what ONNX says, in levels of 255 of the output's range; "" if unknown.

    Both run in ONNX Runtime, the target's side after `emulation`. Nothing is raised: a graph that does not run
    has no visible error to tell.
    """
    from pipeline.graph import valid
    from pipeline.graph.runtime import session

    try:
        constants = {t.name for t in model.graph.initializer}
        rng = np.random.default_rng(7)
        shapes = {
            value.name: [dim.dim_value or _OPEN for dim in value.type.tensor_type.shape.dim]
            for value in model.graph.input
            if value.name not in constants
        }
        reference = session(valid(model))
        emulated = session(target.family.emulate(model.SerializeToString(), target))
        feed = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
        expected = np.asarray(reference.run(None, feed)[0], dtype=np.float64)
        result = np.asarray(emulated.run(None, feed)[0], dtype=np.float64)
    except (Exception, LimitReached):  # ONNX Runtime's many kinds, for graphs that nobody promised would run
        return ""
    if expected.shape != result.shape:
        sizes = ["x".join(map(str, a.shape)) for a in (result, expected)]
        return f"visible: the output is {sizes[0]} instead of {sizes[1]}"
    gap = np.abs(expected - result)
    spread = float(np.ptp(expected)) or 1.0
    worst = "everything" if not np.isfinite(gap).all() else f"{min(gap.max() / spread, 1) * 255:.0f} of 255 levels"
    return f"visible: up to {worst} of the output's range, {np.nanmean(gap) / spread * 255:.1f} on average"
