"""Turns a network into a graph that the target computes correctly: export, simplify, lower, bake.

`lower_network` also measures what no file declares: at which sizes the result runs, and the size of its output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contract import Guide, ImageContract
from pipeline.cost.rearrange import NONE
from pipeline.support.errors import LimitReached, PipelineError
from pipeline.support.memory import release_memory
from pipeline.support.size import Size

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon as gs

    from pipeline.graph.integers import QuantizedTensor
    from pipeline.network import Network, StyleInput
    from pipeline.rewrites.base import Edit, Refusal
    from pipeline.rewrites.driver import Check
    from pipeline.targets import Target

Picture2Picture = Callable[[np.ndarray], np.ndarray]

SIZE_MULTIPLES = (4, 8, 16, 32, 64, 128, 256)
"""Size rules that are tried on networks of unknown architecture, least strict first (pix2pix halves 8 times)."""
_GOLDEN_SIZE = Size(192, 108)
"""Of the golden frame: small enough for Unity's slowest CPU worker."""
MOST_CHANNELS = 64
"""Most input channels of a model without a bundle."""
_SECOND_SIZE = Size(116, 84)
"""A second size for the proof: multiples of 4 that are odd multiples, so that halving twice is just possible."""


@dataclass(frozen=True)
class Lowered:
    """A graph for one target, and what is known about it.

    `candidate` computes it as the target would; None where ONNX Runtime cannot run that. `size`
    is declared in the model; `fixed_size` is set, to the same, when it runs at no other. `output_scale` is output
    width / input width. `quantised` is set for a quantised source: the float graph behind it.
    `integers` are the weights that the source has as integers and the model as exactly the floats that they stand
    for, under the names of the model's initializers. `checks` is None unless each rewrite was compared by itself.
    """

    graph: gs.Graph
    """In the one valid form, before `write`."""
    model: onnx.ModelProto
    """The file that the target reads, parsed."""
    serialised: bytes
    target: Target
    candidate: Picture2Picture | None
    size: Size
    fixed_size: Size | None
    size_multiple: int
    input_channels: int
    output_channels: int
    output_scale: float
    before: dict[str, Any]
    after: dict[str, Any]
    edits: list[Edit]
    refusals: list[Refusal]
    checks: list[Check] | None
    plain: gs.Graph
    """The graph before it was arranged for a class of devices: what other families are predicted from."""
    arranged: dict[str, Any] | None
    """For which class of devices the graph is arranged, and what that gains, as data; None where it is not."""
    baked: dict[str, str] | None
    quantised: Picture2Picture | None
    """The float32 network behind a source that is quantised or in half precision; None for others."""
    uncured: bytes | None
    """The file without what is done for pictures of low contrast; None where nothing was."""
    integers: tuple[QuantizedTensor, ...]
    source_integers: tuple[QuantizedTensor, ...]
    notes: tuple[str, ...]
    guides: tuple[Guide, ...] = ()
    """Of a bundle's network: `graph` has one input with all channels, and the file one for each texture."""


def lower_network(
    network: Network,
    target: Target,
    size: Size,
    *,
    bake_contract: bool,
    metadata: dict[str, str],
    skip: tuple[str, ...] = (),
    check: bool = False,
    alone: bool = False,
    device: str | None = NONE,
    refits: bool = True,
) -> Lowered:
    """Export `network` and rewrite it until `target` accepts it; `size` is the nominal one.

    A network that does not run at the nominal size is lowered at the nearest one at which it does. With `alone`
    the result is declared to run only at that size. `skip` names rewrites to leave out; with `check` each one is
    compared by itself (pipeline.verify.each_rewrite). `device` is the class of devices that the graph is arranged
    for (pipeline.cost.rearrange.device_for). Raises PipelineError when the network is not image-to-image
    or cannot be exported. What the target would still refuse is left to `validate`.
    """

    def lower_at(chosen: Size) -> Lowered:
        return _lower_at(network, target, chosen, bake_contract, metadata, skip, check, alone, device, refits)

    try:
        lowered = lower_at(size)
        if lowered.candidate is not None:
            # Below one multiple the shapes that the rewrites saw were none.
            small = min(size.hw) < lowered.size_multiple
            return lower_at(lowered.size) if small else lowered
    except PipelineError as error:
        nearest = _nearest_that_runs(network, size)
        if error.code not in ("graph-does-not-run", "export-failed") or nearest == size:
            raise
        return lower_at(nearest)
    nearest = _nearest_that_runs(network, size)
    return lowered if nearest == size else lower_at(nearest)


def _nearest_that_runs(network: Network, size: Size) -> Size:
    """The size nearest to the nominal one at which the source runs, else the nominal size."""
    from pipeline.sources.running import reference

    if network.model is not None and declared_size(network.model) is not None:
        return size
    channels = network.contract.input.channels if network.contract else 3
    try:
        source = reference(network)
    except PipelineError:
        return size
    for nearest in dict.fromkeys([size, *(size.rounded(multiple) for multiple in SIZE_MULTIPLES)]):
        try:
            source(np.zeros((1, channels, *nearest.hw), np.float32))
        except Exception:  # whatever torch or ONNX Runtime raise for a size that does not fit
            continue
        return nearest
    return size


def _lower_at(
    network: Network,
    target: Target,
    size: Size,
    bake_contract: bool,
    metadata: dict[str, str],
    skip: tuple[str, ...],
    check: bool,
    alone: bool,
    device: str | None,
    refits: bool,
) -> Lowered:
    from pipeline.build.export import export
    from pipeline.build.float_source import float_behind, is_half
    from pipeline.build.guide_inputs import cut_input
    from pipeline.build.measured_norms import centre, fuse
    from pipeline.cost import layers
    from pipeline.cost.rearrange import arrange, device_for
    from pipeline.graph import declare_size
    from pipeline.graph.integers import found_in
    from pipeline.graph.statistics import count, operators, opset
    from pipeline.quantisation.names import is_quantised
    from pipeline.quantisation.rewrite import integers as integer_weights
    from pipeline.rewrites import finish
    from pipeline.rewrites.low_contrast import LowContrast
    from pipeline.verify.each_rewrite import compare
    from pipeline.verify.proof import as_target_computes

    exported = export(network, size)
    release_memory()
    before: dict[str, Any] = {"opset": opset(exported), "operators": operators(exported)}
    own_size = declared_size(exported)
    if own_size is None and not target.can("computed-sizes"):
        exported = declare_size(exported, *size.hw)
    quantised, integers = None, network.integers
    if is_quantised(exported):
        integers = tuple(integer_weights(exported))
    if is_quantised(exported) or is_half(exported):
        quantised = float_behind(exported)
    rewritten = rewrite(exported, network.contract if bake_contract else None, target, skip, check)

    graph = rewritten.graph
    contract = _contract_of(graph, network, bake_contract)
    fused = fuse(graph, target, contract) if refits else []
    written = None if fused else rewritten.written
    written = target.family.write(graph, target) if written is None else written
    finished = finish(graph, target, skip, compare if check else None, written)
    uncured = written if any(edit.rewrite == LowContrast.name for edit in finished.edits) else None
    centred = centre(graph, target, contract) if refits else []
    rewritten.edits.extend([*fused, *finished.edits, *centred])
    rewritten.checks.extend(finished.checks)
    saved = layers.keep_to(graph, target, layers.count(exported, target), uncured)
    rewritten.edits.extend(saved)
    written = None if finished.edits or centred or saved else written
    del exported
    release_memory()
    guides = network.contract.input.guides if network.contract is not None and bake_contract else ()
    channels = _channels(graph, only_pictures=bake_contract and not guides)
    smallest = network.contract.size_multiple if network.contract else 1
    fit = _fit(graph, target, channels, smallest, network.style, written)
    del written
    arranged, plain, devices = None, graph, device_for(target, device)
    if devices is not None and fit.candidate is not None:
        alone_at = (own_size or size) if fit.multiple is None or alone else None
        nominal = alone_at or size.rounded(fit.multiple or 1)
        runs_at = [alone_at] if alone_at else _trials(fit.multiple or 1)
        arrangement = arrange(graph, target, devices, nominal, runs_at)
        graph, arranged = arrangement.graph, arrangement.as_dict()
        if arrangement.edits:
            rewritten.edits.extend(arrangement.edits)
            fit = _fit(graph, target, channels, smallest, network.style)
        release_memory()
    notes = [*rewritten.notes, *fit.notes]
    if devices is None and device not in (None, NONE):
        notes.append(
            f"the device class {device} has no effect: networks for {target.name} are the same for all classes"
        )
    fixed = None
    if fit.multiple is None or alone:
        fixed = size = own_size or size
        notes.append(f"the graph contains fixed sizes, so it runs only at {size}")
    else:
        size = size.rounded(fit.multiple)
    graph.inputs[0].shape = [1, channels, *size.hw]
    counted = count(graph).as_dict()
    if fixed is None and target.can("declared-size-binds"):
        graph.inputs[0].shape = [1, channels, "height", "width"]
    data = target.family.write(cut_input(graph, guides) if guides else graph, target, metadata)
    model = target.family.read(data)
    candidate = (
        fit.candidate if fit.candidate is None or not guides else as_target_computes(data, target, None, guides)
    )
    release_memory()
    trial = fixed or Size(80, 64).rounded(fit.multiple or 1)
    scale, out_channels = 1.0, channels
    if candidate is not None:
        try:
            scale, out_channels = _output_of(candidate, channels, trial, only_pictures=bake_contract)
        except PipelineError as error:
            error.remedy = error.remedy or _what_helps(network, model, target, trial)
            raise
    return Lowered(
        graph=graph,
        model=model,
        serialised=data,
        target=target,
        candidate=candidate,
        size=size,
        fixed_size=fixed,
        size_multiple=1 if fixed else fit.multiple or 1,
        input_channels=channels,
        output_channels=out_channels,
        output_scale=scale,
        before=before,
        after={**counted, "opset": opset(model), "operators": operators(model)},
        edits=rewritten.edits,
        refusals=rewritten.refusals,
        checks=rewritten.checks if check else None,
        plain=plain,
        arranged=arranged,
        baked=rewritten.baked,
        quantised=quantised,
        uncured=uncured,
        integers=found_in(model, integers),
        source_integers=tuple(integers),
        notes=tuple(notes),
        guides=guides,
    )


@dataclass(frozen=True)
class Rewritten:
    graph: gs.Graph
    edits: list[Edit]
    refusals: list[Refusal]
    checks: list[Check]
    baked: dict[str, str] | None
    notes: list[str]
    written: bytes | None
    """The graph's file, where the last round of rewriting wrote it."""


def rewrite(
    exported: onnx.ModelProto,
    contract: ImageContract | None,
    target: Target,
    skip: tuple[str, ...] = (),
    check: bool = False,
) -> Rewritten:
    """Channels first, simplified, lowered; with a contract, that baked in and lowered again."""
    from pipeline.build.contract_baking import bake
    from pipeline.graph import from_model, packed_constants, to_model
    from pipeline.graph.simplify import simplify
    from pipeline.quantisation.rewrite import undo
    from pipeline.rewrites import Edit, lower
    from pipeline.rewrites.layout import to_channels_first
    from pipeline.verify.each_rewrite import compare

    graph = from_model(exported)
    edits: list[Edit] = []
    if packed_constants(graph):
        edits += [edit for edit in undo(graph) if isinstance(edit, Edit)]
    edits += to_channels_first(graph)
    simplified, note = simplify(to_model(graph))
    graph = from_model(simplified)
    result = lower(graph, target, skip, compare if check else None)
    edits += result.edits
    checks = result.checks
    baked = None
    if contract is not None:
        done = bake(graph, _channels_first(contract), clamp=not target.can("clamps-pictures"))
        baked = {"input": done.input, "output": done.output}
        result = lower(graph, target, skip, compare if check else None)
        edits += result.edits
        checks += result.checks
    return Rewritten(graph, edits, result.refusals, checks, baked, [note] if note else [], result.written)


def _contract_of(graph: gs.Graph, network: Network, baked: bool) -> ImageContract | None:
    """The contract of a rewritten graph, channels first; RGB 0..1 if that is baked in."""
    from pipeline.contract import ImageSide

    contract = network.contract
    if contract is None or not baked:
        return None if contract is None else _channels_first(contract)
    return ImageContract(ImageSide("0..1", contract.input.channels), ImageSide("0..1", contract.output.channels))


def _channels_first(contract: ImageContract) -> ImageContract:
    return replace(
        contract, input=replace(contract.input, layout="nchw"), output=replace(contract.output, layout="nchw")
    )


@dataclass(frozen=True)
class _Fit:
    """A runnable graph, and the multiple that its sizes must have (None: it runs only at its own size)."""

    candidate: Picture2Picture | None
    multiple: int | None
    notes: list[str]


def _fit(
    graph: gs.Graph,
    target: Target,
    channels: int,
    smallest: int,
    style: StyleInput | None,
    written: bytes | None = None,
) -> _Fit:
    from pipeline.verify.proof import as_target_computes

    try:
        data = target.family.write(graph, target) if written is None else written
        candidate = as_target_computes(data, target, style.numbers if style else None)
    except Exception as error:  # whatever ONNX Runtime raises for a graph that the target would not take either
        return _Fit(None, 1, [f"the graph cannot be run as {target.name} computes it ({_first_line(error)})"])
    choices = [m for m in SIZE_MULTIPLES if m >= smallest]
    return _Fit(candidate, _size_multiple(candidate, channels, choices), [])


def trial_sizes(lowered: Lowered, source_fixed: Size | None) -> tuple[Size, ...]:
    """The sizes at which source and graph are compared, golden frame first.

    Two sizes, or the only one at which source or graph runs.
    """
    if lowered.fixed_size is not None:
        return (lowered.fixed_size,)
    if source_fixed is not None:
        return (source_fixed,)
    return _GOLDEN_SIZE.rounded(lowered.size_multiple), _SECOND_SIZE.rounded(lowered.size_multiple)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def declared_size(model: onnx.ModelProto) -> Size | None:
    """The picture's size when the one image input declares it in numbers."""
    from pipeline.graph.structure import pictures

    constants = {t.name for t in model.graph.initializer}
    images = pictures(i for i in model.graph.input if i.name not in constants)
    if len(images) != 1:
        return None
    dims = [d.dim_value for d in images[0].type.tensor_type.shape.dim]
    if len(dims) != 4:
        return None
    channels_last = dims[3] in (1, 3, 4) and dims[1] not in (1, 3, 4) and dims[2:] != [1, 1]
    height, width = (dims[1], dims[2]) if channels_last else (dims[2], dims[3])
    return Size(width, height) if height > 0 and width > 0 else None


def _channels(graph: gs.Graph, *, only_pictures: bool) -> int:
    """The channels of the graph's input; PipelineError `auxiliary-inputs` where a bundle could not fill them."""
    from pipeline.graph import single_input_output
    from pipeline.sources.guides import undeclared

    image, _ = single_input_output(graph)
    channels = image.shape[1]
    if not only_pictures and list(image.shape[2:]) == [1, 1] and isinstance(channels, int):
        return channels  # the vector of a style
    if channels not in (1, 3) and (only_pictures or not 1 <= channels <= MOST_CHANNELS):
        raise PipelineError(
            "auxiliary-inputs",
            f"the network's input {image.name!r} has {channels} channels, but a picture has 3 (or 1)",
            remedy=undeclared(channels)
            or "Use `pipeline convert` without value ranges: it writes only the model, for your own C# code, "
            f"which can fill up to {MOST_CHANNELS} channels.",
        )
    return int(channels)


def _what_helps(network: Network, model: onnx.ModelProto, target: Target, size: Size) -> str:
    """The remedy for a lowered graph that does not run: the cause is the target, the size, or this tool."""
    from pipeline.sources.running import reference
    from pipeline.validation import validate

    broken = [found for found in validate(model, target) if found.severity in ("error", "wrong")]
    if broken:
        first = broken[0]
        named = f"{first.operator} {first.node}".strip()
        return (
            f"{target.name} does not compute {named} correctly ({first.reason}): change the network, or use "
            "another --target."
        )
    try:
        channels = network.contract.input.channels if network.contract else 3
        reference(network)(np.zeros((1, channels, *size.hw), np.float32))
    except Exception:  # whatever torch or ONNX Runtime raise
        return "The source does not run at that size either: use the --size that it was trained or exported for."
    return "The source runs at that size, so this is a bug of the pipeline: please report it with the file."


def _size_multiple(candidate: Picture2Picture, channels: int, choices: list[int]) -> int | None:
    """The first multiple at which the graph runs at two shapes with one ratio of output to input.

    None where there is none, or the next trial would need too much memory, as attention over all pixels does.
    """
    for multiple in choices:
        ratios = set()
        try:
            for size in _trials(multiple):
                _, _, height, width = candidate(np.zeros((1, channels, *size.hw), np.float32)).shape
                ratios.add((height / size.height, width / size.width))
        except LimitReached:
            return None
        except Exception:  # whatever ONNX Runtime raises for sizes that do not fit
            continue
        if len(ratios) == 1:
            return multiple
    return None


def _trials(multiple: int) -> list[Size]:
    """Two sizes that are multiples of one number and of no larger one."""
    few = ((3, 1), (1, 3)) if multiple > 64 else ((7, 9), (11, 5))
    return [Size(multiple * wide, multiple * tall) for tall, wide in few]


def _output_of(candidate: Picture2Picture, channels: int, size: Size, *, only_pictures: bool) -> tuple[float, int]:
    """Output width / input width, and the output's channels; PipelineError when it is not a picture.

    Without `only_pictures` it may have other channels than 1 or 3.
    """
    try:
        shape = candidate(np.zeros((1, channels, *size.hw), np.float32)).shape
    except Exception as error:
        raise PipelineError(
            "graph-does-not-run", f"the lowered graph does not run at {size} ({_first_line(error)})"
        ) from error
    if len(shape) != 4 or (only_pictures and shape[1] not in (1, 3)):
        planes = len(shape) == 4 and shape[1] <= MOST_CHANNELS
        raise PipelineError(
            "not-image-to-image",
            f"the output has the shape {tuple(shape)}, which is not a picture of 1 or 3 channels",
            remedy="Use `pipeline convert` without value ranges: it writes only the model, for your own C# code."
            if planes
            else "This tool takes networks that turn a picture into a picture.",
        )
    tall, wide = shape[2] / size.height, shape[3] / size.width
    if only_pictures and (max(shape[2:]) < 4 or not 2 / 3 < tall / wide < 3 / 2):
        raise PipelineError(
            "not-image-to-image",
            f"of a picture of {size} it makes {shape[3]}x{shape[2]} numbers: no picture of it",
            remedy="This tool takes networks that turn a picture into a picture.",
        )
    return wide, shape[1]
