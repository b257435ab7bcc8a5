"""Compiles normalisations and means: who leaves the statistics, and what merges them."""

from __future__ import annotations

from pipeline.targets.compute.assembly import STATISTICS_PIXELS, Assembly
from pipeline.targets.compute.plan import PICTURE, Dispatch, Extent, blocks
from pipeline.targets.compute.steps import Step
from pipeline.targets.compute.views import Table, Term, View


def norm(assembly: Assembly, number: int, step: Step) -> None:
    of, view = _statistics(assembly, step.inputs[0])
    channels, held, output = assembly.channels(view), step.held, step.output
    gamma, beta = held["gamma"], held["beta"]
    while (found := assembly.only_reader(output)) is not None and found[1].kind == "affine":
        scale, shift = found[1].held["scale"], found[1].held["shift"]
        gamma, beta, output = gamma * scale, beta * scale + shift, found[1].output
        assembly.done.add(found[0])
    at = _table(assembly, channels)
    affine = assembly.rows(gamma, beta)
    if held["channels"] == 1:
        merge = _merge(assembly, of, channels, 0)
        merge.fixed |= {"TABLE_OUTPUT": at, "WEIGHTS_AT": affine}
        merge.real["EPSILON"] = (held["epsilon"],)
        if held.get("outside"):
            merge.real["EPSILON_OUTSIDE"] = (held["outside"],)
        merge.nodes = (step.node,)
    else:
        merge = _merge(assembly, of, channels, 1)
        raw = _table(assembly, channels)
        merge.fixed["TABLE_OUTPUT"] = raw
        across = Dispatch("MergeChannels", {}, "threads", nodes=(step.node,), title="merge channels' statistics")
        across.fixed |= {
            "OUTPUT_BLOCKS": blocks(channels),
            "OUTPUT_CHANNELS": channels,
            "OPTION": held["channels"],
            "TABLE_A": raw,
            "TABLE_OUTPUT": at,
            "WEIGHTS_AT": affine,
        }
        across.real["EPSILON"] = (held["epsilon"],)
        assembly.dispatches.insert(_behind(assembly, merge), across)
    assembly.views[output] = View(Term(view.a.value, norm=Table(at)))


def mean(assembly: Assembly, number: int, step: Step) -> None:
    of, view = _statistics_alone(assembly, number, step.inputs[0])
    channels = assembly.channels(view)
    output = assembly.value(step.output, channels, view.a.value, Extent(0, 1), Extent(0, 1))
    merge = _merge(assembly, of, channels, 2)
    merge.output, merge.nodes, merge.title = output.number, (step.node,), "mean of each channel"
    assembly.makers[output.number] = merge
    assembly.views[step.output] = View(Term(output.number))


def _statistics(assembly: Assembly, tensor: str) -> tuple[Dispatch, View]:
    """The dispatch that leaves the statistics of a tensor, and the tensor as what lies in a buffer."""
    view = assembly.views[tensor]
    if view.plain and view.a.value != PICTURE:
        maker = assembly.makers.get(view.a.value)
        if maker is not None and maker.kernel in ("Conv", "Depthwise", "Pointwise"):
            if maker.kernel == "Pointwise":
                maker.macros |= STATISTICS_PIXELS
            maker.macros["STATISTICS"] = 1
            return maker, view
        output = assembly.like(view, f"{tensor} (statistics)")
        output.stored = False
        macros = {"SAMPLE": 0, "STORE": 0, "STATISTICS": 1, **STATISTICS_PIXELS}
        dispatch = Dispatch("Pointwise", macros, "pixels", output=output.number, title="statistics")
        assembly.reading(view, dispatch)
        return assembly.emit(dispatch), view
    made = assembly.written(view, tensor, statistics=True)
    assembly.views[tensor] = View(Term(made.number))
    return assembly.makers[made.number], assembly.views[tensor]


def _statistics_alone(assembly: Assembly, number: int, tensor: str) -> tuple[Dispatch, View]:
    """As `statistics`, but what nobody reads later is not written."""
    view = assembly.views[tensor]
    if view.plain and view.a.value != PICTURE:
        return _statistics(assembly, tensor)
    if assembly.read_later(number, tensor):
        return _statistics(assembly, tensor)
    of, view = _statistics(assembly, tensor)
    of.macros["STORE"] = 0
    assembly.values[of.output].stored = False
    return of, view


def _merge(assembly: Assembly, of: Dispatch, channels: int, result: int) -> Dispatch:
    """A merge of what a dispatch leaves, put right behind it."""
    phases = of.macro("SHUFFLE", 1)
    macros = {"RESULT": result}
    if phases > 1:
        macros["SHUFFLE"] = phases
    dispatch = Dispatch("Merge", macros, "blocks", of=of, title="merge statistics")
    dispatch.fixed |= {
        "BLOCKS_A_PHASE": of.fixed.get("BLOCKS_A_PHASE", blocks(channels)),
        "OUTPUT_BLOCKS": blocks(channels),
    }
    assembly.dispatches.insert(_behind(assembly, of), dispatch)
    return dispatch


def _behind(assembly: Assembly, of: Dispatch) -> int:
    return next(i for i, dispatch in enumerate(assembly.dispatches) if dispatch is of) + 1


def _table(assembly: Assembly, channels: int) -> int:
    at = assembly.tables
    assembly.tables += 3 * blocks(channels)
    return at
