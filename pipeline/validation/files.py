"""Validates files: what `pipeline validate` does, without torch.

    result = check_files([Path("Assets")], ["barracuda-2.0", "barracuda-3.0"])
    result.exit_code, [verdict.summary for verdict in result.verdicts]

Files are read as they are: nothing is refused here that Unity would try to import, because the rules of a target
say better what happens to it. External data is not read either, since no Barracuda reads it.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.support.errors import PipelineError
from pipeline.support.plain_text import plural
from pipeline.validation.findings import Finding, Severity
from pipeline.validation.python_lines import PythonLine, python_line
from pipeline.validation.waivers import Waiver, waiver_of

if TYPE_CHECKING:
    import onnx

    from pipeline.targets import Target

SCHEMA = 1
"""Version of `Validation.as_dict`: docs/schema/validate-1.json."""

PARALLEL_ABOVE = 2.0
"""Seconds of work left above which further processes are started; each costs about half a second to start."""


def _counted(severity: str, count: int) -> str:
    """`7 errors`, `2 wrong`, `1 slow`: two of the severities are adjectives."""
    return f"{count} {severity}" if severity in ("wrong", "slow") else plural(count, severity)


@dataclass(frozen=True)
class Verdict:
    """The findings of one file for one target, worst first; or the error of a file that cannot be read.

    `waivers` holds the findings that pipeline.toml accepts; `lines` the Python behind nodes with findings, by the
    node's name in the finding. The verdict says what Unity does, waived or not.
    """

    file: Path
    target: str
    findings: tuple[Finding, ...] = ()
    waivers: Mapping[Finding, Waiver] = field(default_factory=dict)
    lines: Mapping[str, PythonLine] = field(default_factory=dict)
    error: PipelineError | None = None
    layers: Mapping[str, int] | None = None
    """`Family.layer_counts` of the file as it is."""
    cost: Mapping[str, Any] | None = None
    """`Family.file_cost`."""

    @property
    def name(self) -> str:
        """The file's path as text that every encoding of Unicode can hold."""
        return os.fsencode(self.file).decode("utf-8", "backslashreplace")

    @property
    def counts(self) -> dict[Severity, int]:
        """How many findings there are of each severity that occurs, worst first."""
        counted = Counter(f.severity for f in self.findings)
        return {severity: counted[severity] for severity in Severity if counted[severity]}

    @property
    def verdict(self) -> str:
        """unreadable, fails, wrong, warns or right."""
        if self.error is not None:
            return "unreadable"
        words = {Severity.ERROR: "fails", Severity.WRONG: "wrong", Severity.WARNING: "warns"}
        return next((words[severity] for severity in self.counts if severity in words), "right")

    @property
    def summary(self) -> str:
        """What happens to the file in Unity, in a few words."""
        if self.error is not None:
            return f"cannot be read ({self.error.code})"
        parts = [_counted(severity, count) for severity, count in self.counts.items()]
        if self.waivers:
            parts.append(f"{len(self.waivers)} waived")
        what = {
            "fails": "does not import or run",
            "wrong": "imports and computes something else",
            "warns": "computes correctly, the console warns",
            "right": "computes right",
        }[self.verdict]
        return f"{what} ({', '.join(parts)})" if parts else what

    def failing(self, fail_on: Severity) -> list[Finding]:
        """The findings that are as bad as `fail_on` or worse, and not waived."""
        return [f for f in self.findings if f.severity.rank <= fail_on.rank and f not in self.waivers]

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "target": self.target or None,
            "verdict": self.verdict,
            "summary": self.summary,
            "error": self.error.as_dict() if self.error is not None else None,
            "layers": None if self.layers is None else dict(self.layers),
            "cost": None if self.cost is None else dict(self.cost),
            "findings": [
                finding.as_dict()
                | {
                    "python": line.as_dict() if (line := self.lines.get(finding.node)) else None,
                    "waived": waiver.reason if (waiver := self.waivers.get(finding)) else None,
                }
                for finding in self.findings
            ],
        }


@dataclass(frozen=True)
class Validation:
    """All verdicts of one run, files in the order given, each for every target; it owns the exit code."""

    verdicts: tuple[Verdict, ...]
    targets: tuple[str, ...]
    fail_on: Severity = Severity.WRONG
    unused: tuple[Waiver, ...] = ()
    """Waivers for files and targets that were validated, which met no finding."""

    @property
    def exit_code(self) -> int:
        """2 when a file could not be read, 1 when a finding reaches `fail_on`, else 0."""
        if any(verdict.error is not None for verdict in self.verdicts):
            return 2
        return 1 if any(verdict.failing(self.fail_on) for verdict in self.verdicts) else 0

    def by_file(self) -> dict[Path, list[Verdict]]:
        """The verdicts of each file."""
        grouped: dict[Path, list[Verdict]] = {}
        for verdict in self.verdicts:
            grouped.setdefault(verdict.file, []).append(verdict)
        return grouped

    def as_dict(self) -> dict[str, Any]:
        """The data of `--format json`; docs/schema/validate-1.json describes it."""
        return {
            "schema": SCHEMA,
            "targets": list(self.targets),
            "fail_on": self.fail_on.value,
            "exit_code": self.exit_code,
            "files": [verdict.as_dict() for verdict in self.verdicts],
            "unused_waivers": [waiver.as_dict() for waiver in self.unused],
        }


def check_files(
    files: Iterable[Path],
    targets: Iterable[str] | None = None,
    *,
    waivers: Sequence[Waiver] = (),
    fail_on: Severity = Severity.WRONG,
    measure: bool = False,
    jobs: int | None = None,
) -> Validation:
    """A verdict for each .onnx file and each target; folders and globs stand for their .onnx files.

    A file that cannot be read (LFS pointer, HTML page, truncated, ...) is a verdict with an error and hides no
    other. `jobs` is the number of processes; None starts them when much work is left. The order of the verdicts
    does not depend on it. `measure` runs files with `wrong` findings in ONNX Runtime, and these findings say how
    large the error is. Raises PipelineError `unknown-target`.
    """
    from pipeline import targets as known

    names = tuple(dict.fromkeys(targets or ())) or (known.DEFAULT,)
    for name in names:
        known.get(name)
    places = list(_expand(files))
    paths = [place for place in places if isinstance(place, Path)]
    done = dict(zip(paths, _check_all(paths, names, measure, jobs), strict=True))
    verdicts: list[Verdict] = []
    used: set[Waiver] = set()
    for place in places:
        if not isinstance(place, Path):
            verdicts.append(Verdict(Path(place.subject), "", error=place))
            continue
        checked = done[place]
        if checked.error:
            verdicts.append(Verdict(place, "", error=_error(checked.error)))
            continue
        for name, findings in checked.findings.items():
            waived = {f: w for f in findings if (w := waiver_of(f, place, waivers)) is not None}
            used.update(waived.values())
            layers_and_cost = checked.layers_and_cost.get(name, (None, None))
            verdicts.append(Verdict(place, name, findings, waived, checked.lines, None, *layers_and_cost))
    read = [verdict for verdict in verdicts if verdict.error is None]
    unused = tuple(
        waiver
        for waiver in waivers
        if waiver not in used and any(waiver.covers(verdict.file, verdict.target) for verdict in read)
    )
    return Validation(tuple(verdicts), names, fail_on, unused)


def _expand(files: Iterable[Path]) -> Iterator[Path | PipelineError]:
    """Every file once, in the order given; an error stands for a folder or glob without .onnx files."""
    import glob

    seen: set[Path] = set()
    for file in files:
        if file.is_dir():
            found = sorted(p for p in file.rglob("*.onnx") if p.is_file())
            what = "this folder"
        elif not file.exists() and glob.has_magic(str(file)):
            matched = sorted(Path(name) for name in glob.glob(str(file), recursive=True))
            found = [p for p in matched if p.is_file()]
            what = "the files that match this pattern"
        else:
            found, what = [file], ""
        if not found:
            yield PipelineError(
                "nothing-to-validate",
                f"there is no .onnx file in {what}",
                subject=str(file),
                remedy="Give another folder or a file; `pipeline convert` makes .onnx files of other formats.",
            )
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


@dataclass(frozen=True)
class _Checked:
    """The result of checking one file, as it is passed between processes."""

    findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    lines: dict[str, PythonLine] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)
    layers_and_cost: dict[str, tuple[Mapping[str, int] | None, Mapping[str, Any] | None]] = field(
        default_factory=dict
    )
    """By target."""


def _error(fields: dict[str, str]) -> PipelineError:
    return PipelineError(fields["code"], fields["message"], subject=fields["subject"], remedy=fields["remedy"])


def _check_all(paths: list[Path], targets: tuple[str, ...], measure: bool, jobs: int | None) -> list[_Checked]:
    """Each file in turn, and the rest in further processes once that is expected to be faster."""
    workers = jobs or _processors()
    done: list[_Checked] = []
    start = time.monotonic()
    for index, path in enumerate(paths):
        left = len(paths) - index
        expected = (time.monotonic() - start) / index * left if index else 0.0
        if workers > 1 and left > 1 and (jobs is not None or expected > PARALLEL_ABOVE):
            return done + _in_processes(paths[index:], targets, measure, min(workers, left))
        done.append(_check_one(path, targets, measure))
    return done


def _in_processes(paths: list[Path], targets: tuple[str, ...], measure: bool, workers: int) -> list[_Checked]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from functools import partial

    try:
        with ProcessPoolExecutor(workers) as pool:
            return list(pool.map(partial(_check_one, targets=targets, measure=measure), paths))
    except BrokenProcessPool:  # the system ended one, mostly for want of memory: one at a time needs less
        return [_check_one(path, targets, measure) for path in paths]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_one(path: Path, targets: tuple[str, ...], measure: bool) -> _Checked:
    from pipeline import targets as known
    from pipeline.sources.stored_contract import stored_contract

    try:
        model = read_as_is(path)
        stored_contract(model, path)  # what `convert` would refuse of the metadata
    except PipelineError as error:
        return _Checked(error=error.as_dict())
    from pipeline.validation import validate

    with contextlib.redirect_stdout(io.StringIO()):  # graphsurgeon prints there before it raises; it is for data
        findings = {name: tuple(validate(model, known.get(name))) for name in targets}
        if measure:
            from pipeline.validation.visible import measured

            findings = {name: measured(of_target, model, known.get(name)) for name, of_target in findings.items()}
        layers_and_cost = {name: _cost(model, known.get(name)) for name in targets}
    lines = _lines(model, {f.node for of_target in findings.values() for f in of_target if f.node})
    return _Checked(findings, lines, layers_and_cost=layers_and_cost)


def _cost(model: onnx.ModelProto, target: Target) -> tuple[Mapping[str, int] | None, Mapping[str, Any] | None]:
    """Layers and cost of a file on a target; nothing for a file so malformed that they cannot be counted."""
    try:
        return target.family.layer_counts(model, target), target.family.file_cost(model, target)
    except Exception:  # whatever a malformed file leads to: its findings say what is wrong with it
        return None, None


def _lines(model: onnx.ModelProto, names: set[str]) -> dict[str, PythonLine]:
    if not names or not any(node.doc_string or node.metadata_props for node in model.graph.node):
        return {}
    from pipeline.validation.view import label

    nodes = {name: node for node in model.graph.node if (name := label(node)) in names}
    return {name: line for name, node in sorted(nodes.items()) if (line := python_line(node)) is not None}


# ------------------------------------------------------------------------------------------------ reading
def read_as_is(path: Path) -> onnx.ModelProto:
    """The model in an .onnx file, whatever it holds; its external data is not read.

    Text that is not UTF-8 is decoded with U+FFFD, as Unity's protobuf library does (System.Text.Encoding.UTF8).
    Raises PipelineError: what `identify_onnx` raises, truncated-file, missing-external-data.
    """
    from pipeline.sources.onnx_file import drop_external_locations
    from pipeline.sources.triage import identify_onnx

    identify_onnx(path)
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from pipeline.graph.text import repair_text

    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise PipelineError(
            "truncated-file",
            "its protobuf cannot be decoded",
            subject=str(path),
            remedy="Download or export it again.",
        ) from None
    repair_text(model)
    _check_external_data(path, model)
    drop_external_locations(model)
    return model


def _check_external_data(path: Path, model: onnx.ModelProto) -> None:
    """Raise `missing-external-data` where the file beside the model is not there; all else is a finding."""
    import onnx

    from pipeline.sources.onnx_file import external_location, tensors

    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            try:
                external_location(path, tensor)
            except PipelineError as error:
                if error.code == "missing-external-data":
                    raise
