"""Runs rewrites in order, at the nodes with findings that they remove, until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline.graph.nodes import forget_names
from pipeline.graph.shapes import LazyShapes, forget_shapes, keep_shapes
from pipeline.rewrites.base import Edit, Needed, Outcome, Refusal, Rewrite, always
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target
    from pipeline.validation.findings import Finding

_MOST_REASONS = 2
"""Reasons of findings that an edit names."""
MAX_ROUNDS = 50
"""Rounds after which a set of rewrites that still changes the graph is reported as a bug."""


class FindingsByNode:
    """A target's findings in a graph, as `write` would write it, by node.

    The rules are evaluated on first use, once per round of rewriting, so that lowering takes time linear in the
    nodes. Nodes that an edit of the round named count as free of findings until the next round.
    """

    def __init__(
        self, graph: gs.Graph, target: Target, rewrites: Iterable[Rewrite], written: bytes | None = None
    ) -> None:
        self._graph, self._target = graph, target
        self.written = written
        """The graph's file, once it was written."""
        self._all_codes = {code for rewrite in rewrites for code in rewrite.removes}
        self._found: dict[str, list[Finding]] | None = None
        self._edited: set[str] = set()

    def mark_edited(self, edits: Iterable[Edit]) -> None:
        """Treat the nodes that these edits name as free of findings."""
        for edit in edits:
            self._edited.update(edit.nodes)

    def needed_by(self, rewrite: Rewrite) -> Needed:
        """The predicate that `Rewrite.apply` is given: `always` for a rewrite with its own reason."""
        if rewrite.reason:
            return always
        codes = set(rewrite.removes)
        return lambda *nodes: any(
            finding.code in codes
            for node in nodes
            if node.name not in self._edited
            for finding in self._of(node.name)
        )

    def explained(self, rewrite: Rewrite, edit: Edit) -> Edit:
        """An edit without a reason, with those of the findings at its nodes that the rewrite removes."""
        if edit.why:
            return edit
        found = (finding for name in edit.nodes for finding in self._of(name) if finding.code in rewrite.removes)
        reasons = list(dict.fromkeys(finding.reason for finding in found))
        return replace(edit, why="; ".join(reasons[:_MOST_REASONS]) or rewrite.summary)

    def _of(self, name: str) -> list[Finding]:
        if self._found is None:
            self._found = {}
            family = self._target.family
            from pipeline.validation import validate

            if self.written is None:
                self.written = family.write(self._graph, self._target)
            for finding in validate(
                family.read(self.written), self._target, self._all_codes, LazyShapes(self._graph).here
            ):
                self._found.setdefault(finding.node, []).append(finding)
        return self._found.get(name, [])


@dataclass(frozen=True)
class Check:
    """The comparison of the graphs before and after a rewrite: same, undone or not compared, and why."""

    rewrite: str
    outcome: str
    nodes: tuple[str, ...] = ()
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        return {
            "rewrite": self.rewrite,
            "outcome": self.outcome,
            "nodes": list(self.nodes),
            "reason": self.reason,
        }


Compare = Callable[["gs.Graph", "gs.Graph"], tuple[str, str]]
"""Graph before, graph after: `same`, `different` or `not compared`, and why (pipeline.verify.each_rewrite)."""


@dataclass
class LoweringResult:
    """All edits in order, the refusals that still hold at the end (without duplicates), and the checks."""

    edits: list[Edit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    written: bytes | None = None
    """The graph's file as it is now, where that had to be written."""


def settle(graph: gs.Graph) -> None:
    """Remove what nothing reads, and sort, after a rewrite changed a graph."""
    graph.cleanup(remove_unused_graph_inputs=False).toposort()


def run(
    graph: gs.Graph,
    target: Target,
    rewrites: Iterable[Rewrite],
    compare: Compare | None = None,
    written: bytes | None = None,
) -> LoweringResult:
    """Apply the rewrites, in order, again and again until a round changes nothing.

    The target's rules are evaluated once per round, and a rewrite is applied to nodes with findings that it
    removes (`FindingsByNode`). Dead nodes are removed and the graph is sorted after each rewrite that changed it.
    With `compare`, the graphs before and after a rewrite are compared; if they differ, it is undone and left out
    from then on. A rewrite with `changes_numbers` is not compared. `written` is the graph's file, if known.
    """
    rewrites = tuple(rewrites)
    result = LoweringResult(written=written)
    try:
        _settle(graph, target, rewrites, compare, result)
    finally:
        forget_shapes(graph)
    return result


def _settle(
    graph: gs.Graph, target: Target, rewrites: tuple[Rewrite, ...], compare: Compare | None, result: LoweringResult
) -> None:
    undone: set[str] = set()
    for _ in range(MAX_ROUNDS):
        changed = False
        findings = FindingsByNode(graph, target, rewrites, result.written)
        refusals: dict[Refusal, None] = {}
        keep_shapes(graph)
        for rewrite in rewrites:
            if rewrite.name in undone or (changed and rewrite.last):
                continue
            before = graph.copy() if compare is not None else None
            forget_names(graph)
            outcome = _applied(rewrite, graph, target, findings)
            edits = [o for o in outcome if isinstance(o, Edit)]
            refusals.update(dict.fromkeys(o for o in outcome if isinstance(o, Refusal)))
            if edits:
                findings.mark_edited(edits)
                settle(graph)
                keep_shapes(graph)
                if compare is not None and before is not None:
                    check = _checked(rewrite, before, graph, edits, compare)
                    result.checks.append(check)
                    if check.outcome == "undone":
                        undone.add(rewrite.name)
                        _restore(graph, before)
                        keep_shapes(graph)
                        changed = True  # the others look at its nodes again, in the next round
                        continue
                changed = True
                result.edits.extend(edits)
        result.written = None if changed else findings.written
        if not changed:
            result.refusals = list(refusals)
            return
    names = ", ".join(dict.fromkeys(e.rewrite for e in result.edits[-20:]))
    raise PipelineError(
        "rewrites-do-not-settle",
        f"the rewrites still change the graph after {MAX_ROUNDS} rounds (last: {names})",
        remedy="This is a bug of the pipeline: please report it with the model.",
    )


def _applied(rewrite: Rewrite, graph: gs.Graph, target: Target, findings: FindingsByNode) -> Outcome:
    try:
        outcome = rewrite.apply(graph, target, findings.needed_by(rewrite))
    except (PipelineError, MemoryError, NameError, ImportError):
        raise
    except Exception as error:  # whatever a graph that no exporter writes leads to
        message = " ".join(str(error).split())[:200]
        raise PipelineError(
            "not-handled",
            f"the rewrite {rewrite.name} cannot handle this graph ({type(error).__name__}: {message})",
            remedy=f"Skip that rewrite with --skip {rewrite.name}, and please report it with the output of -vv.",
        ) from error
    return [findings.explained(rewrite, entry) if isinstance(entry, Edit) else entry for entry in outcome]


def _checked(rewrite: Rewrite, before: gs.Graph, after: gs.Graph, edits: list[Edit], compare: Compare) -> Check:
    nodes = tuple(dict.fromkeys(name for edit in edits for name in edit.nodes))
    if rewrite.changes_numbers:
        return Check(rewrite.name, "not compared", nodes, rewrite.changes_numbers)
    outcome, reason = compare(before, after)
    return Check(rewrite.name, "undone" if outcome == "different" else outcome, nodes, reason)


def _restore(graph: gs.Graph, before: gs.Graph) -> None:
    graph.nodes, graph.inputs, graph.outputs = before.nodes, before.inputs, before.outputs
    graph.opset = before.opset
