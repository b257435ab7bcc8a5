"""What a rewrite is, and how rewrites are run.

A rewrite is a class with `name`, one-line `summary`, `removes` (finding codes) and `apply(graph, target)`,
which changes the graph in place and returns what it did: edits, and refusals where a place matches but cannot
be rewritten. `run` applies an ordered tuple of rewrites until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline.graph.nodes import forget_names
from pipeline.support.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_graphsurgeon as gs

    from pipeline.targets import Target

MAX_ROUNDS = 50
"""Rounds after which a set of rewrites that still changes the graph is reported as a bug."""


@dataclass(frozen=True)
class Edit:
    """One change: which nodes (names before the change), what was done and why."""

    rewrite: str
    nodes: tuple[str, ...]
    what: str
    why: str

    def as_dict(self) -> dict[str, object]:
        return {"rewrite": self.rewrite, "nodes": list(self.nodes), "what": self.what, "why": self.why}


@dataclass(frozen=True)
class Refusal:
    """A rewrite's "I can't, because": stable code, node, operator, reason, and what the user can do."""

    rewrite: str
    code: str
    node: str
    operator: str
    reason: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return {
            "rewrite": self.rewrite,
            "code": self.code,
            "node": self.node,
            "operator": self.operator,
            "reason": self.reason,
            "fix": self.fix,
        }


Outcome = list[Edit | Refusal]
"""What a rewrite did to a graph."""


class Rewrite(Protocol):
    """A change to a graph that removes findings without changing what the graph computes."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def removes(self) -> tuple[str, ...]: ...

    def apply(self, graph: gs.Graph, target: Target) -> list[Edit | Refusal]:
        """Change `graph` in place wherever the rewrite matches; an Edit for each change."""
        ...


@dataclass(frozen=True)
class Check:
    """What comparing the graph before and after a rewrite showed: same, undone or not compared, and why."""

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
    """All edits in the order made, the refusals that still hold at the end (deduplicated), and the checks."""

    edits: list[Edit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def settle(graph: gs.Graph) -> None:
    """Remove what nothing reads, and sort, after a rewrite changed a graph."""
    graph.cleanup(remove_unused_graph_inputs=False).toposort()


def run(
    graph: gs.Graph, target: Target, rewrites: Iterable[Rewrite], compare: Compare | None = None
) -> LoweringResult:
    """Apply the rewrites, in order, again and again until a round changes nothing.

    Dead nodes are removed and the graph is sorted after each rewrite that changed it. With `compare`, what a
    rewrite did is compared with the graph before it; where they differ it is undone and the rewrite left out.
    A rewrite with `changes_numbers` is not compared.
    """
    rewrites = tuple(rewrites)
    result = LoweringResult()
    undone: set[str] = set()
    for _ in range(MAX_ROUNDS):
        changed = False
        refusals: dict[Refusal, None] = {}
        for rewrite in rewrites:
            if rewrite.name in undone:
                continue
            before = graph.copy() if compare is not None else None
            forget_names(graph)
            outcome = rewrite.apply(graph, target)
            edits = [o for o in outcome if isinstance(o, Edit)]
            refusals.update(dict.fromkeys(o for o in outcome if isinstance(o, Refusal)))
            if edits:
                settle(graph)
                if compare is not None and before is not None:
                    check = _checked(rewrite, before, graph, edits, compare)
                    result.checks.append(check)
                    if check.outcome == "undone":
                        undone.add(rewrite.name)
                        _restore(graph, before)
                        continue
                changed = True
                result.edits.extend(edits)
        if not changed:
            result.refusals = list(refusals)
            return result
    names = ", ".join(dict.fromkeys(e.rewrite for e in result.edits[-20:]))
    raise PipelineError(
        "rewrites-do-not-settle",
        f"the rewrites still change the graph after {MAX_ROUNDS} rounds (last: {names})",
        remedy="This is a bug of the pipeline: please report it with the model.",
    )


def _checked(rewrite: Rewrite, before: gs.Graph, after: gs.Graph, edits: list[Edit], compare: Compare) -> Check:
    nodes = tuple(dict.fromkeys(name for edit in edits for name in edit.nodes))
    if why := getattr(rewrite, "changes_numbers", ""):
        return Check(rewrite.name, "not compared", nodes, why)
    outcome, reason = compare(before, after)
    return Check(rewrite.name, "undone" if outcome == "different" else outcome, nodes, reason)


def _restore(graph: gs.Graph, before: gs.Graph) -> None:
    graph.nodes, graph.inputs, graph.outputs = before.nodes, before.inputs, before.outputs
    graph.opset = before.opset
