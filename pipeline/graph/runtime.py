"""Runs a model in ONNX Runtime, under limits of memory and time.

What a run takes is estimated beforehand from the shapes (`pipeline.graph.estimate`): what would take more memory
than the limit is not run, and what can be estimated runs here. The rest (loops, results whose size depends on
values, foreign operators, very large networks) runs in a process of its own that the system and a clock can end
(`pipeline.graph.apart`). A model with a baked-in picture size contradicts itself at any other size, so each run
decides again, from the shapes of its own inputs.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.graph.apart import Apart
from pipeline.graph.estimate import MOST_FOLDED, Estimate, estimate, grows_with_inputs, light
from pipeline.graph.opening import opened
from pipeline.support import limits

if TYPE_CHECKING:
    import onnx
    import onnxruntime


NEWEST_IR = 10
"""Newest IR version that every ONNX Runtime from 1.20 on takes; later ones add nothing that a graph here uses."""
_MOST_WORK = 5 * 10**11
"""Multiply-adds of one run above which it is not trusted to end soon: a minute on two slow cores."""
_PROBE = (64, 80)
"""Height and width at which a model of open size is looked at as it is opened."""


class Session:
    """A model that is ready to run; `run`, `get_inputs` and `get_outputs` are those of ONNX Runtime's sessions."""

    def __init__(self, model: onnx.ModelProto | bytes, what: str = "the network") -> None:
        content, proto = _both(model)
        self._what = what
        self._light = light(proto)
        self._counted: list[dict[str, tuple[int, ...]]] = []
        self._grows = grows_with_inputs(self._light)
        probe = _probe(self._light)
        estimated = estimate(self._light, probe)
        self._refuse(estimated)
        if not _needs_limits(estimated):
            self._counted.append(probe)
        self._refuse_folded(estimated)
        self._opened: onnxruntime.InferenceSession | None = None
        self._apart: Apart | None = None
        if _needs_limits(estimated):
            self._content = content
            self._apart = Apart(content, what, estimated.all.unknown)
        else:
            self._opened = opened(content, len(proto.graph.node))

    def get_inputs(self) -> Sequence[Any]:
        return (self._apart or self._opened).get_inputs()  # type: ignore[union-attr]

    def get_outputs(self) -> Sequence[Any]:
        return (self._apart or self._opened).get_outputs()  # type: ignore[union-attr]

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        """The outputs of these names (None: all) for inputs by name.

        Raises LimitReached, and whatever ONNX Runtime raises for a model that does not run at this size.
        """
        shapes = {name: tuple(np.shape(value)) for name, value in inputs.items()}
        if not self._is_counted(shapes):
            estimated = estimate(self._light, shapes)
            self._refuse(estimated)
            if self._apart is not None and _needs_limits(estimated):
                return self._apart.run(names, inputs)
            if self._opened is None:
                self._refuse_folded(estimated)
                self._opened = opened(self._content, len(self._light.graph.node))
            if not estimated.all.unknown:
                self._counted.append(shapes)
        assert self._opened is not None  # what is counted is open here
        return self._opened.run(names, dict(inputs))  # type: ignore[no-any-return]

    def _is_counted(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether a run with inputs of these shapes takes no more than one that was counted and not refused."""
        return any(
            shapes == counted
            or (
                self._grows
                and shapes.keys() == counted.keys()
                and all(
                    len(shape) == len(counted[name]) and all(map(operator.le, shape, counted[name]))
                    for name, shape in shapes.items()
                )
            )
            for counted in self._counted
        )

    def _refuse(self, estimated: Estimate) -> None:
        limit = limits.run_memory()
        if estimated.peak > limit:
            largest = limits.amount(estimated.all.largest)
            which = f"{limits.amount(estimated.peak)} ({estimated.all.largest_of} alone {largest})"
            raise limits.too_much_memory(f"running {self._what}", which, limit)

    def _refuse_folded(self, estimated: Estimate) -> None:
        folded = estimated.folded
        if folded.largest > MOST_FOLDED or folded.total > 4 * MOST_FOLDED:
            needed = f"{limits.amount(max(folded.largest, folded.total))} for constants ({folded.largest_of})"
            raise limits.too_much_memory(f"loading {self._what}", needed, limits.run_memory())


def _needs_limits(estimated: Estimate) -> bool:
    """Whether a run's cost is not known in advance, or too high to trust that it ends soon."""
    return bool(estimated.all.unknown) or estimated.all.work > _MOST_WORK


def _both(model: onnx.ModelProto | bytes) -> tuple[bytes, onnx.ModelProto]:
    import onnx

    if isinstance(model, bytes):
        return model, onnx.ModelProto.FromString(model)
    if model.ir_version > NEWEST_IR:
        newer, model = model, type(model)()
        model.CopyFrom(newer)
        model.ir_version = NEWEST_IR
    return model.SerializeToString(), model


def _probe(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The declared shapes with the open sizes filled in: one picture of `_PROBE`, 3 channels."""
    found = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            defaults = (1, 3, *_PROBE) if len(kind.shape.dim) == 4 else (1,) * len(kind.shape.dim)
            sizes = zip(kind.shape.dim, defaults, strict=True)
            found[value.name] = tuple(dim.dim_value if dim.dim_value > 0 else size for dim, size in sizes)
    return found


def check(model: onnx.ModelProto, what: str = "the network") -> None:
    """Make sure that a run at the declared size stays within the limits, for who opens a model in another way.

    What cannot be estimated is run once, in a process of its own. Raises LimitReached; what ONNX Runtime raises
    otherwise is for the caller to meet.
    """
    session = Session.__new__(Session)
    session._what, session._light = what, light(model)
    shapes = _probe(session._light)
    estimated = estimate(session._light, shapes)
    session._refuse(estimated)
    if _needs_limits(estimated):
        trial = Session(model, what)
        with contextlib.suppress(Exception):
            trial.run(None, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def session(model: onnx.ModelProto | bytes, what: str = "the network") -> Session:
    """A model opened for running on the CPU; a newer IR version is accepted.

    `model` may be serialised already, which spares a copy of the weights. `what` names it in errors. Raises
    LimitReached, PipelineError `invalid-onnx` and `graph-too-large`, and whatever ONNX Runtime raises for a model
    that it cannot load.
    """
    return Session(model, what)


def run(session: Session, picture: np.ndarray) -> np.ndarray:
    """The first output for the one input."""
    return np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])


def free_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself, with height and width of its inputs and outputs left open and no inferred shapes."""
    constants = {t.name for t in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in constants:
            continue
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if axis >= 2:
                dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return model
