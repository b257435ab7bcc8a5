"""The base class of rewrites. A rewrite changes a graph in place and returns what it did; `driver` runs them.

The outcome is a list of edits, and of refusals where a node matches but cannot be rewritten. A rewrite is applied
to nodes with findings whose codes are in `removes`, or to all that match if it has a `reason` of its own: one
layer less, no picture size in the graph, digits that would be lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


@dataclass(frozen=True)
class Edit:
    """One change: which nodes (names before the change), what was done and why.

    A rewrite that removes findings leaves `why` empty: `driver` puts the reasons of the findings there, so that an
    edit says of a target only what its rules found.
    """

    rewrite: str
    nodes: tuple[str, ...]
    what: str
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        return {"rewrite": self.rewrite, "nodes": list(self.nodes), "what": self.what, "why": self.why}


@dataclass(frozen=True)
class Refusal:
    """Why a rewrite could not be applied to a node: stable code, node, operator, reason, and the user's remedy."""

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


Needed = Callable[..., bool]
"""`needed(*nodes)`: whether one of these nodes has a finding that the rewrite removes; true if it has a reason."""


class Rewrite(ABC):
    """A change to a graph that removes findings without changing what the graph computes.

    A subclass has a `name`, a `summary`, and either `removes` or a `reason`.
    """

    name: ClassVar[str]
    """Stable, in kebab case: `--skip`, reports and the names of new nodes use it."""
    summary: ClassVar[str]
    """What it does, in one line."""
    removes: ClassVar[tuple[str, ...]] = ()
    """The codes of the findings that it removes, and that trigger it."""
    reason: ClassVar[str] = ""
    """Why it is done for every target; empty if findings trigger it."""
    after: ClassVar[tuple[str, ...]] = ()
    """The names of the rewrites that must run before it in each round: in another order the result differs."""
    last: ClassVar[bool] = False
    """Whether it runs only once no other rewrite changes anything any more."""
    changes_numbers: ClassVar[str] = ""
    """Why the graphs before and after it are not compared; empty if they are."""

    @abstractmethod
    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        """Change `graph` in place wherever the rewrite matches and is needed; an Edit for each change."""

    @classmethod
    def edit(cls, nodes: gs.Node | tuple[str, ...], what: str, why: str = "") -> Outcome:
        """One edit of a node, or of nodes by name."""
        return [Edit(cls.name, nodes if isinstance(nodes, tuple) else (nodes.name,), what, why)]

    @classmethod
    def refuse(cls, node: gs.Node, code: str, reason: str, fix: str = "") -> Outcome:
        """One refusal at a node."""
        return [Refusal(cls.name, code, node.name, node.op, reason, fix)]


def always(*_: gs.Node) -> bool:
    """The predicate `needed` of a rewrite with its own reason."""
    return True
