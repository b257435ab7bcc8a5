"""Verdicts checked against what real Barracuda did (measured.md section 3)."""

from __future__ import annotations

import pytest

from pipeline import targets
from pipeline.validation import validate
from pipeline.validation.findings import Finding, Severity
from tests.validation.measured import ALL_RIGHT, DYNAMIC, EVERYWHERE, TABLE
from tests.validation.patterns import export

VERSIONS = ("barracuda-3.0", "barracuda-2.0", "barracuda-1.0")
ROWS = [(name, build, opset, ALL_RIGHT) for name, (build, opsets) in EVERYWHERE.items() for opset in opsets] + [
    (name, build, opset, verdicts) for name, (build, opsets, verdicts) in TABLE.items() for opset in opsets
]


def verdict(findings: list[Finding]) -> str:
    """What happens on the workers that were measured (CSharp): warnings of other workers do not count."""
    counted = [f for f in findings if not f.backends or "CSharp" in f.backends]
    match min((finding.severity for finding in counted), key=lambda severity: severity.rank, default=None):
        case Severity.ERROR:
            return "fails"
        case Severity.WRONG:
            return "wrong"
        case Severity.WARNING:
            return "warns"
        case _:
            return "right"


@pytest.mark.parametrize(
    ("build", "opset", "expected"), [row[1:] for row in ROWS], ids=[f"{row[0]} opset {row[2]}" for row in ROWS]
)
def test_verdict_is_what_barracuda_did(build, opset, expected):
    model = export(build, opset)
    found = {name: validate(model, targets.get(name)) for name in VERSIONS}
    reported = tuple(verdict(found[name]) for name in VERSIONS)
    assert reported == expected, {
        name: [f"{f.severity} {f.code}: {f.reason}" for f in found[name]] for name in VERSIONS
    }


OPEN = [
    (name, build, opset, axes, verdicts)
    for name, (build, opsets, axes, verdicts) in DYNAMIC.items()
    for opset in opsets
]


@pytest.mark.parametrize(
    ("build", "opset", "axes", "expected"),
    [row[1:] for row in OPEN],
    ids=[f"{row[0]} opset {row[2]}" for row in OPEN],
)
def test_verdict_with_open_axes_is_what_barracuda_did(build, opset, axes, expected):
    model = export(build, opset, dynamic=axes)
    found = {name: validate(model, targets.get(name)) for name in VERSIONS}
    reported = tuple(verdict(found[name]) for name in VERSIONS)
    assert reported == expected, {
        name: [f"{f.severity} {f.code}: {f.reason}" for f in found[name]] for name in VERSIONS
    }


def test_a_folded_network_of_opset_11_runs_only_from_2_0_on():
    """TransformerNet after onnxsim (measured.md): the pads are constants, and 1.0.4 throws at the addition."""
    import onnxsim

    model, _ = onnxsim.simplify(export(TABLE["residual at 9"][0], 11))
    assert [verdict(validate(model, targets.get(name))) for name in VERSIONS] == ["right", "right", "fails"]
