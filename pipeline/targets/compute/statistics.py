"""Compiles normalisations and means: which dispatch computes the statistics, and which merges them."""

from __future__ import annotations

from pipeline.targets.compute.builder import STATISTICS_PIXELS, PlanBuilder
from pipeline.targets.compute.linear import depends
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, blocks
from pipeline.targets.compute.steps import Step
from pipeline.targets.compute.views import Table, Term, View


def norm(builder: PlanBuilder, number: int, step: Step) -> None:
    of, view = _statistics(builder, step.inputs[0])
    channels, attrs, output = builder.channels(view), step.attrs, step.output
    gamma, beta = attrs["gamma"], attrs["beta"]
    while (reader := builder.sole_reader(output)) is not None and reader[1].kind == "affine":
        scale, shift = reader[1].attrs["scale"], reader[1].attrs["shift"]
        if depends(scale) and depends(gamma, beta):
            break
        gamma, beta, output = gamma * scale, beta * scale + shift, reader[1].output
        builder.done.add(reader[0])
    at = _table(builder, channels)
    affine = builder.rows(gamma, beta)
    if attrs["channels"] == 1:
        merge = _merge(builder, of, channels, 0)
        merge.int_constants |= {"TABLE_OUTPUT": at, "WEIGHTS_AT": affine}
        merge.float_constants["EPSILON"] = (attrs["epsilon"],)
        if attrs.get("outside"):
            merge.float_constants["EPSILON_OUTSIDE"] = (attrs["outside"],)
        merge.nodes = (step.node,)
    else:
        merge = _merge(builder, of, channels, 1)
        raw = _table(builder, channels)
        merge.int_constants["TABLE_OUTPUT"] = raw
        across = Dispatch("MergeChannels", {}, "threads", nodes=(step.node,), title="merge channels' statistics")
        across.int_constants |= {
            "OUTPUT_BLOCKS": blocks(channels),
            "OUTPUT_CHANNELS": channels,
            "OPTION": attrs["channels"],
            "TABLE_A": raw,
            "TABLE_OUTPUT": at,
            "WEIGHTS_AT": affine,
        }
        across.float_constants["EPSILON"] = (attrs["epsilon"],)
        builder.dispatches.insert(_index_after(builder, merge), across)
    builder.views[output] = View(Term(view.a.value, norm=Table(at)))


def mean(builder: PlanBuilder, number: int, step: Step) -> None:
    of, view = _statistics_alone(builder, number, step.inputs[0])
    channels = builder.channels(view)
    output = builder.value(step.output, channels, view.a.value, Extent(0, 1), Extent(0, 1))
    merge = _merge(builder, of, channels, 2)
    merge.output, merge.nodes, merge.title = output.number, (step.node,), "mean of each channel"
    builder.producers[output.number] = merge
    builder.views[step.output] = View(Term(output.number))


def _statistics(builder: PlanBuilder, tensor: str) -> tuple[Dispatch, View]:
    """The dispatch that computes the statistics of a tensor, and the view of the stored tensor."""
    view = builder.views[tensor]
    if view.plain and view.a.value != PICTURE:
        producer = builder.producers.get(view.a.value)
        if producer is not None and producer.kernel in ("Conv", "Depthwise", "Pointwise"):
            if producer.kernel == "Pointwise":
                producer.macros |= STATISTICS_PIXELS
            producer.macros["STATISTICS"] = 1
            return producer, view
        output = builder.like(view, f"{tensor} (statistics)")
        output.stored = False
        macros = {"SAMPLE": 0, "STORE": 0, "STATISTICS": 1, **STATISTICS_PIXELS}
        dispatch = Dispatch("Pointwise", macros, "pixels", output=output.number, title="statistics")
        builder.bind_inputs(view, dispatch)
        return builder.emit(dispatch), view
    stored = builder.store_view(view, tensor, statistics=True)
    builder.views[tensor] = View(Term(stored.number))
    return builder.producers[stored.number], builder.views[tensor]


def _statistics_alone(builder: PlanBuilder, number: int, tensor: str) -> tuple[Dispatch, View]:
    """Like `_statistics`, but the tensor is not stored if no later step reads it."""
    view = builder.views[tensor]
    if view.plain and view.a.value != PICTURE:
        return _statistics(builder, tensor)
    if builder.read_later(number, tensor):
        return _statistics(builder, tensor)
    of, view = _statistics(builder, tensor)
    of.macros["STORE"] = 0
    builder.values[of.output].stored = False
    return of, view


def _merge(builder: PlanBuilder, of: Dispatch, channels: int, result: int) -> Dispatch:
    """Insert a merge of the statistics of dispatch `of` right behind it."""
    phases = of.macro("SHUFFLE", 1)
    macros = {"RESULT": result}
    if phases > 1:
        macros["SHUFFLE"] = phases
    dispatch = Dispatch("Merge", macros, "blocks", statistics_of=of, title="merge statistics")
    dispatch.int_constants |= {
        "BLOCKS_A_PHASE": of.int_constants.get("BLOCKS_A_PHASE", blocks(channels)),
        "OUTPUT_BLOCKS": blocks(channels),
    }
    builder.dispatches.insert(_index_after(builder, of), dispatch)
    return dispatch


def _index_after(builder: PlanBuilder, of: Dispatch) -> int:
    return next(i for i, dispatch in enumerate(builder.dispatches) if dispatch is of) + 1


def _table(builder: PlanBuilder, channels: int) -> int:
    at = builder.tables
    builder.tables += 3 * blocks(channels)
    return at
