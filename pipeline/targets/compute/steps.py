"""The compiler's view of a graph: a list of steps on feature maps, and the nodes that are not supported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refused:
    """A node that the compiler does not support, the reason, and a remedy."""

    node: str
    operator: str
    reason: str
    fix: str = ""


class Unsupported(Exception):
    """Raised while a node is read or compiled; becomes a `Refused` for that node."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


@dataclass
class Step:
    """An operation on feature maps. `kind` selects its handler in `compiler`; `attrs`: constants by name."""

    kind: str
    node: str
    operator: str
    inputs: tuple[str, ...]
    output: str
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Steps:
    """A graph as steps, in order. `shapes` are (channels, height, width) of every tensor at the declared size."""

    steps: list[Step]
    refused: list[Refused]
    picture: str
    result: str
    shapes: dict[str, tuple[int, int, int]]
    declared_result: str = ""
    """The name of the graph's output, which may be an alias of the tensor `result`."""
    guides: tuple[str, ...] = ()
    """The names of the inputs that are textures of guides."""

    def readers(self, tensor: str) -> list[Step]:
        """The steps that read a tensor."""
        return [step for step in self.steps if tensor in step.inputs]


ELSEWHERE = "Build it for an inference package: --target barracuda-3.0, or one of the inference family."
CONSTANT_SIZES = "Build it for the size that it was exported for (--size WIDTHxHEIGHT), or b" + ELSEWHERE[1:]
LOWERED = (
    "`pipeline convert` and `build-unity` remove channels-last layouts if possible; otherwise b" + ELSEWHERE[1:]
)
