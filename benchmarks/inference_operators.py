"""Compares validation with what Sentis and Inference Engine really did with the ONNX project's operator cases.

    python benchmarks/inference_operators.py [--suite ../shared/sentis/operator_suite.json] [--kinds]

The suite holds, for 1,143 cases and four versions of the package, what its own importer and CPU backend gave:
right, wrong, an import or a run that fails. A case agrees when validation finds an `error` or `wrong` exactly
where the package was not right; with --kinds, also whether it is an error or wrong has to agree. Prints every case
that differs, and exits with 1 where one of them is not in `KNOWN`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import onnx

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import operators
from pipeline import targets
from pipeline.validation import validate

SUITE = Path(__file__).resolve().parents[2] / "shared" / "sentis" / "operator_suite.json"
TARGETS = {"2.1.3": "sentis-2.1", "2.2.2": "inference-2.2", "2.3.0": "inference-2.3", "2.4.0": "inference-2"}
"""Version of the package that ran -> the target that speaks of it."""
KNOWN = {
    "test_attention_23_boolmask_fullymasked_row_nan_robustness_expanded": "rows that are masked completely: NaN",
    "test_attention_23_fullymasked_qk_matmul_output_mode3_zero_expanded": "rows that are masked completely: NaN",
    "test_attention_24_fullymasked_qk_matmul_output_mode3_zero_expanded": "rows that are masked completely: NaN",
    "test_attention_4d_causal_nonpad_negative_offset_structural_empty_expanded": "rows that are masked: NaN",
    "test_attention_causal_boolmask_nan_robustness_expanded": "rows that are masked completely: NaN",
    "test_attention_local_window_gqa_rank4_mask_expanded": "rows that are masked completely: NaN",
    "test_mod_float_edge_cases_fmod_0_float32": "infinities and NaN as data",
    "test_scatter_elements_with_reduction_max": "2.1.3 overwrites instead, which gives the same for these numbers",
    "test_bernoulli_seed": "random numbers, which no two libraries share",
    "test_bernoulli_seed_expanded": "random numbers, which no two libraries share",
}
"""Cases whose verdict hangs on the numbers that go in, not on the graph, and why."""


def verdict(model: onnx.ModelProto, target: str) -> str:
    """What validation says: right, wrong or error."""
    worst = validate(model, targets.get(target))[:1]
    severity = worst[0].severity.value if worst else "right"
    return severity if severity in ("error", "wrong") else "right"


def measured(told: str) -> str:
    """The suite's word as one of ours."""
    return "right" if told == "right" else "wrong" if told.startswith("wrong") else "error"


def cases() -> dict[str, onnx.ModelProto]:
    """Every case of the installed onnx package by the suite's name, with one float input as far as it has one."""
    from onnx.backend.test.case import node

    stored = {
        name if "/" in name else f"node/{name}": case.model
        for case in operators.all_cases()
        for name in [case.name]
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in node.collect_testcases(None):
            stored.setdefault(f"node/{case.name}", case.model)
    return stored


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=SUITE, help="the measured verdicts")
    parser.add_argument("--kinds", action="store_true", help="error and wrong count as different too")
    chosen = parser.parse_args()
    suite, stored = json.loads(chosen.suite.read_text(encoding="utf-8")), cases()
    counts: Counter[tuple[str, str]] = Counter()
    unknown = 0
    for name, item in suite.items():
        model = stored.get(name)
        for version, target in TARGETS.items():
            if model is None:
                counts[version, "missing"] += 1
                continue
            expected, got = measured(item[version][0]), verdict(model, target)
            same = expected == got if chosen.kinds else (expected == "right") == (got == "right")
            counts[version, "same" if same else "different"] += 1
            if not same:
                why = KNOWN.get(name.split("/")[-1], "")
                unknown += not why
                print(f"{version}: {name}: the package {' '.join(item[version])[:90]!r}, we say {got}. {why}")
    for version in TARGETS:
        print(version, {kind: count for (stored, kind), count in sorted(counts.items()) if stored == version})
    return 1 if unknown or any(kind == "missing" for _, kind in counts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
