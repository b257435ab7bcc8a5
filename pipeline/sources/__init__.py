"""Read a source file into a `Network`, without running code from the file (docs/security.md).

    network = read(Path("mosaic.pth"))
    run = reference(network)                # NCHW float32 in, NCHW float32 out, in the network's own value ranges

`identify` determines the format from the content; each format has its reader. torch is imported only where a torch
module is built: `.onnx` files never need it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract import ChannelOrder, ImageContract, ImageSide
from pipeline.network import Network
from pipeline.sources.triage import EXTENSIONS, FORMATS, FileFormat, identify
from pipeline.support.errors import MissingDependency, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from pipeline.graph.integers import QuantizedTensor
    from pipeline.sources.running import Reference
    from pipeline.sources.tensors import StateDict

__all__ = ["FileFormat", "ReadOptions", "identify", "read", "read_one", "reference"]

STATE_DICTS = tuple(name for name, known in FORMATS.items() if not known.graph)
PROGRAMS = tuple(name for name, known in FORMATS.items() if known.graph)


@dataclass(frozen=True)
class ReadOptions:
    """What the user declares. Each option overrides what the architecture or the file says.

    `architecture` is the name of a known architecture, or `package.module:factory`; the ranges are among
    contract.RANGES; `channel_order` (rgb or bgr) applies to input and output; `input_channels` names guides beside
    the colour (guides.py); `name` replaces the file's stem; `prefix` selects one network of a state dict that
    contains several. For ONNX models, `take` names the output to keep, `bind` gives values to the inputs other
    than the picture (ports.py), `mask` says what the output marks (masks.py), and `style_input` names the input
    that stays open for the game (style_split.py); `bind` then has an example value for it. With `describe`, a
    state dict is described even where torch is not installed: its network has no module then. With
    `where_unknown`, ranges and channel order apply only where the file does not contain its own
    (shared_options.py). `as_float` undoes the quantisation of an ONNX model before a style is bound or left open,
    and returns its integer weights too: integers would round what depends on the style.
    """

    architecture: str | None = None
    input_range: str | None = None
    output_range: str | None = None
    channel_order: str | None = None
    input_channels: str | None = None
    name: str | None = None
    take: str | None = None
    bind: tuple[str, ...] = ()
    mask: str | None = None
    style_input: str | None = None
    prefix: str | None = None
    describe: bool = False
    where_unknown: bool = False
    as_float: Callable[[onnx.ModelProto], tuple[onnx.ModelProto, tuple[QuantizedTensor, ...]]] | None = None


def read(path: Path, options: ReadOptions = ReadOptions()) -> Network:
    """Read the network in a file, with its image contract as far as it is known.

    Raises PipelineError for whatever cannot be read, with one code for each reason (docs/errors.md).
    """
    path = Path(path)
    _check_options(options)
    file_format = identify(path)
    reader = {"onnx": _read_onnx, "torchscript": _read_torchscript, "torch-export": _read_exported}.get(
        file_format.name, _read_state_dict
    )
    chooses_style = bool(options.bind) or options.style_input is not None
    may_have_style = file_format.name == "onnx" or (
        file_format.name in STATE_DICTS and ":" not in (options.architecture or "")
    )
    if (file_format.name != "onnx" and (options.take is not None or options.mask is not None)) or (
        chooses_style and not may_have_style
    ):
        raise PipelineError(
            "conflicting-options",
            "--take, --bind, --style-input and --mask apply to .onnx files, but this is "
            f"{file_format.description}",
            subject=str(path),
            remedy="Omit them, or export the network to ONNX and use that file.",
        )
    if file_format.name in PROGRAMS and options.architecture not in (None, file_format.name):
        raise PipelineError(
            "architecture-does-not-apply",
            f"this is {file_format.description}, which contains its own graph, so no architecture can be chosen",
            subject=str(path),
            remedy="Omit --architecture.",
        )
    if file_format.name in PROGRAMS and options.prefix is not None:
        raise PipelineError(
            "conflicting-options",
            f"--prefix applies to checkpoints, but this is {file_format.description}",
            subject=str(path),
            remedy="Omit --prefix.",
        )
    network = reader(path, file_format, options)
    if file_format.note and file_format.note not in network.notes:
        network.notes = (file_format.note, *network.notes)
    return network


def read_one(path: Path, options: ReadOptions = ReadOptions()) -> Network:
    """Read a network that must have one input and one output; an open style input is allowed beside the picture.

    Raises what `read` raises, and PipelineError `several-inputs` and `several-outputs`, whose remedy names the
    option that selects one.
    """
    from pipeline.sources import ports

    network = read(path, options)
    if network.model is not None and network.style is None:
        ports.require_one(network.model, path)
    return network


def reference(network: Network) -> Reference:
    """The source network as a function from NCHW float32 to NCHW float32, in its own ranges; see `running`."""
    from pipeline.sources import running

    return running.reference(network)


def _check_options(options: ReadOptions) -> None:
    if options.channel_order not in (None, "rgb", "bgr"):
        raise PipelineError(
            "bad-channel-order",
            f"{options.channel_order!r} is not a channel order",
            subject="--channel-order",
            remedy="Use rgb or bgr.",
        )
    if options.input_channels is not None:
        from pipeline.sources.guides import parse

        parse(options.input_channels)
    logits = options.mask is not None and options.output_range == "logits"
    for value in (options.input_range, None if logits else options.output_range):
        if value is not None:
            ImageSide(value)


def _name(path: Path, options: ReadOptions) -> str:
    if options.name:
        return options.name
    stem = path.name
    while Path(stem).suffix.lower() in EXTENSIONS and Path(stem).stem:
        stem = Path(stem).stem
    return stem


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


# --- the image contract ---------------------------------------------------------------------------------------


def _declare(
    path: Path, options: ReadOptions, known: ImageContract | None, sides: tuple[dict[str, Any], dict[str, Any]]
) -> ImageContract | None:
    """The image contract: the user's declarations over what is known. None where no value range is known.

    `sides` has channels and layout of input and output, for a contract that only the user declares.
    """
    ranges = (options.input_range, options.output_range)
    if known is not None and options.where_unknown:
        return known
    if known is None:
        if ranges == (None, None):
            return None
        if None in ranges:
            missing = "--output-range" if ranges[0] else "--input-range"
            declared = "--input-range" if ranges[0] else "--output-range"
            raise PipelineError(
                "contract-incomplete",
                f"{declared} is declared but {missing} is not, and the file does not contain it",
                subject=str(path),
                remedy=f"Declare {missing} too: 0..255, 0..1, -1..1 or imagenet.",
            )
        sources = {
            "channel_order": "the usual order, not declared",
            "size_multiple": "the usual multiple, not declared",
        }
        given = _with_guides(path, options, ImageSide("0..1", **sides[0]), known=False)
        known = ImageContract(
            replace(given, value_range=str(ranges[0])), ImageSide(str(ranges[1]), **sides[1]), sources=sources
        )
    else:
        _refuse_contradiction(path, options, known)
        known = replace(known, input=_with_guides(path, options, known.input, known=True))
    sources = dict(known.sources)
    input_side, output_side = known.input, known.output
    if options.input_channels:
        sources["input_channels"] = "--input-channels"
    if options.input_range:
        input_side = replace(input_side, value_range=options.input_range)
        sources["input_range"] = "--input-range"
    if options.output_range:
        output_side = replace(output_side, value_range=options.output_range)
        sources["output_range"] = "--output-range"
    if options.channel_order:
        order: ChannelOrder = "bgr" if options.channel_order == "bgr" else "rgb"
        input_side = replace(input_side, order=order) if input_side.color_channels == 3 else input_side
        output_side = replace(output_side, order=order) if output_side.channels == 3 else output_side
        sources["channel_order"] = "--channel-order"
    return replace(known, input=input_side, output=output_side, sources=sources)


def _with_guides(path: Path, options: ReadOptions, side: ImageSide, *, known: bool) -> ImageSide:
    """`side` with the guides of --input-channels; PipelineError `input-channels-differ`."""
    if options.input_channels is None:
        return side
    from pipeline.sources.guides import declared

    return declared(options.input_channels, side, path, known=known)


def _refuse_contradiction(path: Path, options: ReadOptions, known: ImageContract) -> None:
    """Raise PipelineError `contract-contradicted` where a declaration differs from the known value.

    For a network that was trained with other ranges than its architecture's usual ones, --architecture must be
    given too; that permits the difference.
    """
    if options.architecture is not None:
        return
    for option, declared, known_value in (
        ("--input-range", options.input_range, known.input.value_range),
        ("--output-range", options.output_range, known.output.value_range),
        ("--channel-order", options.channel_order, known.input.order),
    ):
        if declared is not None and declared != known_value:
            raise PipelineError(
                "contract-contradicted",
                f"{option} {declared} contradicts the known value for this network, {known_value}",
                subject=str(path),
                remedy=f"Leave {option} out. If your own training code changed it, say so by naming the network "
                "too: --architecture NAME (pipeline inspect says which it is).",
            )


# --- readers --------------------------------------------------------------------------------------------------


def _read_state_dict(path: Path, file_format: FileFormat, options: ReadOptions) -> Network:
    from pipeline.sources.tensors import read_state

    if file_format.name == "keras-h5":
        from pipeline.sources.keras import read_keras

        state = read_keras(path)
    else:
        state = read_state(path, file_format, prefix=options.prefix)
    from pipeline.sources import subnetworks

    prefix = options.prefix if state.prefix is None else state.prefix
    if prefix:
        state = subnetworks.under(state, prefix)
    if options.architecture and ":" in options.architecture:
        return _read_own(path, state, options)

    from pipeline.architectures import build, family_of, load, names, recognise
    from pipeline.sources.tensors import ARCHITECTURE

    declared = state.attributes.get(ARCHITECTURE)
    by_file = options.architecture is None and declared in names()
    named = declared if by_file else options.architecture
    state, recognised = subnetworks.find_known(state, lambda part: recognise(part, named))
    notes = [*state.notes, *recognised.notes]
    module, model, style = None, None, None
    family = family_of(recognised.name)
    if family.style and family.graph is not None:
        model = family.graph(recognised.params, recognised.tensors)
        side = recognised.contract.input
        declared_side = replace(
            options,
            input_range=options.input_range or side.value_range,
            channel_order=options.channel_order or side.order,
        )
        from pipeline.sources.style_split import bound_or_split

        model, style, more = bound_or_split(model, path, declared_side)
        notes += more
    elif options.bind or options.style_input is not None:
        raise PipelineError(
            "conflicting-options",
            f"--bind and --style-input name a second input, but {recognised.name} has only that of the picture",
            subject=str(path),
            remedy="Omit them.",
        )
    else:
        try:
            module = load(build(recognised.name, recognised.params), recognised.tensors, str(path))
        except MissingDependency:
            if family.graph is not None:
                model = family.graph(recognised.params, recognised.tensors)
            elif options.describe:
                notes.append("torch is not installed, so the cost is not shown")
            else:
                raise
    if state.attributes.get("training") is True:
        notes.append("saved in training mode; run in eval mode")
    return Network(
        name=_name(path, options),
        source=path,
        format=state.format,
        digest=_digest(path),
        architecture=recognised.name,
        reason=f"the checkpoint says that it is {declared}" if by_file else recognised.reason,
        contract=_declare(path, options, recognised.contract, ({}, {})),
        weights=recognised.weights,
        module=module,
        model=model,
        style=style,
        details=recognised.params,
        integers=tuple(state.integers),
        notes=tuple(notes),
    )


def _read_own(path: Path, state: StateDict, options: ReadOptions) -> Network:
    from pipeline.architectures import STATISTICS, load
    from pipeline.sources import own_module, quantised_state, subnetworks

    spec = str(options.architecture)
    module, code = own_module.make(spec)
    module = own_module.plain(module)
    state = subnetworks.fit_names(state, list(module.state_dict()))
    notes = [*state.notes, f"{spec} was imported and called: your own code was run"]
    if state.integers:
        notes += quantised_state.fit(module, state.tensors, f"--architecture {spec}")
    load(module, state.tensors, str(path))
    companions = (code,) if code else ()
    return Network(
        name=_name(path, options),
        source=path,
        format=state.format,
        digest=_digest(path, *companions),
        architecture=spec,
        reason=f"--architecture {spec} was given",
        contract=_declare(path, options, None, _probe(path, module)),
        weights=sum(v.size for k, v in state.tensors.items() if not STATISTICS.search(k)),
        module=module,
        companions=companions,
        integers=tuple(state.integers),
        notes=tuple(notes),
    )


def _probe(path: Path, module: Any, shape: list[int] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    from pipeline.sources.running import probe_channels

    inputs, outputs = probe_channels(module, path, shape)
    return {"channels": inputs}, {"channels": outputs}


def _read_torchscript(path: Path, file_format: FileFormat, options: ReadOptions) -> Network:
    from pipeline.sources.programs import read_torchscript

    module, notes = read_torchscript(path)
    return _program(path, file_format, options, module, notes, {})


def _read_exported(path: Path, file_format: FileFormat, options: ReadOptions) -> Network:
    from pipeline.sources.programs import read_exported

    module, example, notes = read_exported(path)
    details = {"exported_shape": list(example)} if example else {}
    return _program(path, file_format, options, module, notes, details)


def _program(
    path: Path,
    file_format: FileFormat,
    options: ReadOptions,
    module: Any,
    notes: list[str],
    details: dict[str, Any],
) -> Network:
    from pipeline.sources import plain
    from pipeline.sources.programs import trained_tensors
    from pipeline.sources.running import probe_channels
    from pipeline.sources.trial import first_run

    first_run(path, lambda: probe_channels(module, path, details.get("exported_shape")))
    tensors = trained_tensors(module)
    plain.check_finite(tensors, str(path))
    return Network(
        name=_name(path, options),
        source=path,
        format=file_format.name,
        digest=_digest(path),
        architecture=file_format.name,
        reason=f"the file is {file_format.description}, which contains its own graph",
        contract=_declare(path, options, None, _probe(path, module, details.get("exported_shape"))),
        weights=sum(value.size for value in tensors.values()),
        module=module,
        details=details,
        notes=tuple(notes),
    )


def _read_onnx(path: Path, file_format: FileFormat, options: ReadOptions) -> Network:
    from pipeline.sources import guides, masks, onnx_file, ports, stored_contract
    from pipeline.sources.old_linear import make_explicit

    model, companions, about = onnx_file.read_onnx(path, file_format)
    onnx_file.check_finite(model, path)
    live_input, bind = options.style_input, options.bind
    if live_input is not None:
        bind = tuple(item for item in bind if item.partition("=")[0] != live_input)
    integers: tuple[QuantizedTensor, ...] = ()
    if options.as_float is not None:
        model, integers = options.as_float(model)
    ports.bind(model, bind, options.input_range, path, options.channel_order)
    if options.take is not None:
        ports.take(model, options.take, path)
    declared_channels = options.input_channels or stored_contract.stored_channels(model)
    is_joined = (
        declared_channels is not None and live_input is None and guides.join_inputs(model, declared_channels, path)
    )
    model, note = make_explicit(model)
    notes = [note] if note else []
    model, batch = onnx_file.with_batch_of_one(model)
    if batch > 1:
        notes.append(f"the file declares a batch of {batch} pictures; it is built for one")
    if is_joined:
        notes.append(f"the inputs hold the channels {declared_channels}; they were joined")
    notes += ["the input {} is bound to {}".format(*binding.partition("=")[::2]) for binding in bind]
    if options.take is not None:
        notes.append(f"of {len(about['outputs'])} outputs, {options.take} is kept")
    if companions:
        notes.append(f"external data loaded from {', '.join(file.name for file in companions)}")
    if options.mask is not None:
        ports.require_one(model, path)
        notes.append(masks.as_mask(model, options.mask, options.output_range, path))
        options = replace(options, output_range="0..1")
    style = None
    if live_input is not None:
        from pipeline.sources.style_split import separate_style

        model, style = separate_style(model, live_input, options, path)
        notes.append(f"the input {live_input} is left to the game: {style.vector.size:,} numbers for each style")
    known = stored_contract.stored_contract(model, path)
    if known is not None:
        notes.append("the image contract was read from the file's metadata, where this pipeline wrote it")
    known = known or onnx_file.uint8_contract(model)
    sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    image = onnx_file.image_input(model)
    if image is not None and model.graph.output:
        layout, channels = onnx_file.layout_of(image)
        out_layout, out_channels = onnx_file.layout_of(model.graph.output[0], layout)
        sides = (
            {"layout": layout, "channels": channels or 3},
            {"layout": out_layout, "channels": out_channels or channels or 3},
        )
        if layout == "nhwc":
            notes.append("the input is channels-last (NHWC), as its declared shape shows")
    elif options.input_range or options.output_range:
        ports.require_one(model, path)
        raise PipelineError(
            "not-image-to-image",
            f"its input {ports.described(ports.required_inputs(model))} is not a picture (N, C, H, W), so no "
            "value ranges can be declared",
            subject=str(path),
            remedy="Use a network with one picture as input and one as output.",
        )
    return Network(
        name=_name(path, options),
        source=path,
        format="onnx",
        digest=_digest(path, *companions),
        architecture="onnx",
        reason="the file is an ONNX model, which contains its own graph",
        contract=_declare(path, options, known, sides),
        weights=about.pop("weights"),
        model=model,
        style=style,
        graph=about,
        details={key: about[key] for key in ("opset", "ir_version", "producer")},
        companions=tuple(companions),
        integers=integers,
        notes=tuple(notes),
    )
