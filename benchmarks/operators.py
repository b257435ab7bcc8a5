"""Runs the ONNX project's own operator cases through lowering, validation and emulation, and counts the results.

    python benchmarks/operators.py [--write] [--jobs 2] [--only NAME ...]

The cases come with the installed `onnx` package: onnx.backend.test's node cases, pytorch-operator and
pytorch-converted. A case counts if a float32 tensor goes in: the first one stays the input, every other input
becomes an initializer, which is how a model holds it. A case is *right* when validation finds neither `error` nor
`wrong` in the lowered graph and its emulation gives the expected outputs within 1e-4 of their range, *refused*
when a finding or an error of this tool says why not, *wrong* when the numbers differ all the same, and an *error*
when something else stops it. Exit code 1 unless wrong and errors are zero. --write makes docs/operators.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
TOLERANCE = 1e-4
"""Largest difference, relative to the largest expected value or 1; in half precision outputs, its own step."""
WHOLE_MODEL = "*(model)*"
RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}


@dataclass(frozen=True)
class Case:
    """One case: a model with a single input, what goes in, and what the ONNX project says comes out."""

    name: str
    model: onnx.ModelProto
    given: np.ndarray
    expected: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a case on a target: right, refused, wrong or error, and why."""

    case: str
    target: str
    verdict: str
    code: str = ""
    operator: str = ""
    reason: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/operators.md")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name holds one of these")
    chosen = parser.parse_args()
    with ProcessPoolExecutor(chosen.jobs) as pool:
        parts = pool.map(_part, [(number, chosen.jobs, tuple(chosen.only)) for number in range(chosen.jobs)])
        outcomes = sorted(
            (outcome for part in parts for outcome in part), key=lambda outcome: (outcome.case, outcome.target)
        )
    for outcome in outcomes:
        if chosen.only or outcome.verdict in ("wrong", "error"):
            print(f"{outcome.verdict:8} {outcome.target} {outcome.case}: {outcome.code} {outcome.reason}")
    print("\n".join(table(outcomes)))
    if chosen.write and not chosen.only:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return 1 if any(outcome.verdict in ("wrong", "error") for outcome in outcomes) else 0


def _part(task: tuple[int, int, tuple[str, ...]]) -> list[Outcome]:
    number, jobs, only = task
    cases = [case for case in all_cases() if not only or any(word in case.name for word in only)]
    return list(judged(cases[number::jobs]))


# --- the cases -----------------------------------------------------------------------------------------------


def all_cases() -> list[Case]:
    """Every float case of the installed onnx package, by name."""
    return sorted([*node_cases(), *stored_cases()], key=lambda case: case.name)


def node_cases(modules: Iterable[str] | None = None) -> Iterator[Case]:
    """The float cases of `onnx.backend.test.case.node`; `modules` names some of its modules ("conv", "pad")."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if modules is None:
            found = node.collect_testcases(None)
        else:
            for module in modules:
                importlib.import_module(f"{node.__name__}.{module}")
            found = node._NodeTestCases
    for case in found:
        if case.model is None or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        yield from _case(case.name, case.model, inputs, outputs)


def stored_cases() -> Iterator[Case]:
    """The float cases that lie in the onnx package as files: exports of PyTorch 0.3."""
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for model in sorted(root.glob("pytorch-*/*/model.onnx")):
        inputs, outputs = (
            [_tensor(path) for path in sorted(model.parent.glob(f"test_data_set_0/{side}_*.pb"))]
            for side in ("input", "output")
        )
        yield from _case(f"{model.parent.parent.name}/{model.parent.name}", onnx.load(model), inputs, outputs)


def _tensor(path: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _array(value: object) -> np.ndarray:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _case(name: str, source: onnx.ModelProto, inputs: list, outputs: list) -> Iterator[Case]:
    """The case with every input but the first float32 one as an initializer; nothing if it is not a float case."""
    stored = {tensor.name for tensor in source.graph.initializer}
    declared = [value for value in source.graph.input if value.name not in stored]
    every = (*declared, *source.graph.output)
    if len(declared) != len(inputs) or not all(value.type.HasField("tensor_type") for value in every):
        return
    inputs, outputs = ([_array(value) for value in values] for values in (inputs, outputs))
    first = next((at for at, value in enumerate(inputs) if value.dtype == np.float32 and value.size), None)
    if first is None or any(value.dtype.kind not in "fiub" for value in outputs):
        return
    if any(node.op_type in RANDOM for node in source.graph.node):
        return
    model = onnx.ModelProto()
    model.CopyFrom(source)
    for at, (value, array) in enumerate(zip(declared, inputs, strict=True)):
        if at != first:
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
    yield Case(name, model, inputs[first], tuple(outputs))


# --- the verdicts --------------------------------------------------------------------------------------------


def judged(cases: Iterable[Case]) -> Iterator[Outcome]:
    """What becomes of each case on each target."""
    from pipeline import targets

    warnings.simplefilter("ignore")
    for case in cases:
        for name in targets.names("barracuda"):
            yield judge(case, targets.get(name))


def judge(case: Case, target) -> Outcome:
    """Lower, validate and emulate one case."""
    from pipeline.graph import from_model
    from pipeline.graph.runtime import session
    from pipeline.rewrites import lower
    from pipeline.support.errors import PipelineError
    from pipeline.validation import validate

    try:
        graph = from_model(case.model)
        lower(graph, target)
        data = target.family.write(graph, target)
        model = target.family.read(data)
        broken = [found for found in validate(model, target) if found.severity in ("error", "wrong")]
        if broken:
            first = broken[0]
            return Outcome(case.name, target.name, "refused", first.code, first.operator, first.reason)
        opened = session(target.family.emulate(data, target))
        got = opened.run(None, {value.name: case.given for value in opened.get_inputs()})
    except PipelineError as error:
        return Outcome(case.name, target.name, "refused", error.code, "", error.message)
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        return Outcome(case.name, target.name, "error", type(error).__name__, "", line)
    off = difference(case.expected, got)
    return Outcome(case.name, target.name, "wrong" if off else "right", "", "", off)


def difference(expected: Iterable[np.ndarray], got: Iterable[np.ndarray]) -> str:
    """In words how the outputs differ; empty where they agree."""
    for expected_value, output in zip(expected, got, strict=True):
        if expected_value.shape != output.shape:
            return f"shape {output.shape} instead of {expected_value.shape}"
        tolerance = max(TOLERANCE, np.finfo(expected_value.dtype).eps if expected_value.dtype.kind == "f" else 0.0)
        expected_value, output = expected_value.astype(np.float64), output.astype(np.float64)
        scale = np.abs(expected_value[np.isfinite(expected_value)]).max(initial=1.0)
        if not np.allclose(output, expected_value, rtol=0, atol=tolerance * scale, equal_nan=True):
            with np.errstate(invalid="ignore"):
                off = np.abs(expected_value - output).max()
            return f"{off:.3g} of {scale:.3g}"
    return ""


# --- the page ------------------------------------------------------------------------------------------------


def table(outcomes: list[Outcome]) -> list[str]:
    """The counts per target."""
    lines = ["| target | cases | right | refused | wrong | errors |", "|---|---|---|---|---|---|"]
    for target in sorted({outcome.target for outcome in outcomes}):
        found = Counter(outcome.verdict for outcome in outcomes if outcome.target == target)
        counts = " | ".join(str(found[verdict]) for verdict in ("right", "refused", "wrong", "error"))
        lines.append(f"| {target} | {found.total()} | {counts} |")
    return lines


def page(outcomes: list[Outcome]) -> str:
    """docs/operators.md: the counts, and what is refused and why."""
    lines = [
        "# Operators",
        "",
        "<!-- Made by `python benchmarks/operators.py --write`. -->",
        "",
        "The ONNX project's operator test cases that have a float input, as included in onnx "
        f"{onnx.__version__}, lowered for each target. The first float input stays an input; further inputs "
        "become constants, as in a model. "
        "*Right*: validation finds nothing that would fail or compute something else, and the emulation of the "
        "target gives the expected numbers within 1e-4 of their range. *Refused*: a finding or an error says "
        "in advance why the case does not work. *Wrong* and *errors* have to be zero.",
        "",
        *table(outcomes),
        "",
        "## Refused",
        "",
        "By reason, with the number of cases for each target and the names of the cases. The operator is "
        f"{WHOLE_MODEL} where the reason is about an input, an output or a stored tensor, not about a node.",
        "",
    ]
    targets = sorted({outcome.target for outcome in outcomes})
    reasons: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for outcome in outcomes:
        if outcome.verdict == "refused":
            reasons[outcome.operator, outcome.code][outcome.target].add(outcome.case)
    lines.append("| operator | finding | " + " | ".join(targets) + " | cases |")
    lines.append("|---|---|" + "---|" * (len(targets) + 1))
    for (operator, code), by_target in sorted(reasons.items()):
        counts = " | ".join(str(len(by_target[target])) for target in targets)
        names = sorted({name.removeprefix("test_") for item in by_target.values() for name in item})
        lines.append(f"| {operator or WHOLE_MODEL} | `{code}` | {counts} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
