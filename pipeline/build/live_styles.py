"""Styles chosen at run time: a predictor runs once per style, a transfer network once per frame.

The source is cut where only the style goes in (`sources.style_split`), and both parts are lowered for the target.
The bound values of the style's input are its examples: each is proven, from the style itself through the predictor
as the target computes it, and is in the bundle as a style that can be shown at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.build import facts, several_styles
from pipeline.build import prove as proven
from pipeline.sources import ports
from pipeline.support.errors import PipelineError, ProofFailed

if TYPE_CHECKING:
    import onnx

    from pipeline.build.lowering import Lowered
    from pipeline.build.options import BuildOptions, Step
    from pipeline.network import Network, StyleInput
    from pipeline.sources import ReadOptions
    from pipeline.targets import Target

_PICTURE = "examples/picture.jpg"
"""The example of a style that is a picture, where none is bound."""


@dataclass(frozen=True)
class LiveStyles:
    """The files of a bundle for styles chosen at run time; their names are in `report["styles"]`."""

    predictor: bytes | None
    """The model file of the predictor; None where the styles are numbers, all of which are in `vectors`."""
    vectors: np.ndarray
    """The vector of each example, (S, K) float32, as the target computes it."""
    pictures: tuple[np.ndarray, ...]
    """The pictures of the examples, (1, C, H, W) in 0..1, where a style is one."""

    def members(self) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """The vectors, the predictor's file and the pictures as the bundle has them."""
        from pipeline.verify import pictures

        return self.vectors.astype("<f4").tobytes(), self.predictor or b"", tuple(map(pictures.png, self.pictures))


@dataclass(frozen=True)
class _Example:
    name: str
    given: tuple[str, ...]
    """The binding as the user gave it; empty for the bundled picture."""
    binding: tuple[str, ...]


def make(path: Path, options: BuildOptions, step: Step) -> tuple[several_styles.Styled, LiveStyles]:
    """Build and prove both networks. Raises ProofFailed, and PipelineError for styles that cannot be given so."""
    from pipeline import sources, targets

    name = str(options.style_input)
    target = targets.get(options.target)
    _check(options, target)
    examples = _examples(path, name, options)
    single = dataclasses.replace(options, bind=examples[0].binding)
    try:
        network, lowered, _, report = proven.make(path, single, step, bake_contract=True, refits=False)
    except ProofFailed as failure:
        if failure.code == "target-refuses":
            failure.remedy = "Bind the styles when you build, --bind once for each, or build for another --target."
        raise
    style = network.style
    assert style is not None
    others = [_value(path, style, example, options) for example in examples]
    predicted = _predict(path, network, style, others, target, step)

    run = target.family.style_runner(lowered.serialised, target)
    proofs, truths = [], []
    for example, vector in zip(examples, predicted.vectors, strict=True):
        bound = dataclasses.replace(options.reading, style_input=None, bind=example.binding)
        truths.append(several_styles.truth(sources.read(path, bound), lowered))
        mixed = several_styles.mixed(run, vector.tolist())
        proofs.append(several_styles.proved(truths[-1], mixed, lowered, options))
    named_proofs = [(example.name, proof) for example, proof in zip(examples, proofs, strict=True)]
    if len(examples) > 1:
        middle = np.mean(predicted.exact[:2], axis=0).reshape(style.vector.shape)
        half = dataclasses.replace(network, style=dataclasses.replace(style, vector=middle))
        mixed = several_styles.mixed(run, predicted.vectors[:2].mean(axis=0).tolist())
        named_proofs.append(
            ("a blend of two", several_styles.proved(several_styles.truth(half, lowered), mixed, lowered, options))
        )
    several_styles.require(
        named_proofs, path, report, step, "Bind the styles when you build, without --style-input."
    )
    report["proof"] = proofs[0].as_dict()
    report["styles"] = [
        {"name": example.name, "bound": list(example.given), "proof": proof.as_dict()}
        for example, proof in zip(examples, proofs, strict=True)
    ]
    report["style_blend"] = named_proofs[-1][1].as_dict() if len(examples) > 1 else None
    report["model"]["style_input"] = [value.name for value in lowered.model.graph.input][1]
    report["live_style"] = {"input": name, "kind": style.kind, "values": style.vector.size, **predicted.facts}
    candidate = several_styles.mixed(run, predicted.vectors[0].tolist())
    styled = several_styles.Styled(
        network,
        dataclasses.replace(lowered, candidate=candidate),
        proofs[0],
        report,
        tuple(proof.golden_output for proof in proofs),
    )
    return styled, LiveStyles(predicted.data, predicted.vectors, predicted.pictures)


def _check(options: BuildOptions, target: Target) -> None:
    if not target.can("style-vectors"):
        raise PipelineError(
            "target-needs-bound-styles",
            f"{target.name} takes styles that are known when it is built",
            subject="--style-input",
            remedy="Bind them instead, --bind once for each style, or build for an inference package (--target).",
        )
    several_styles.check(options, target)
    if options.mask is not None:
        raise PipelineError(
            "conflicting-options",
            "a mask has no style",
            subject="--style-input",
            remedy="Leave --mask or --style-input out.",
        )


def _with_all_inputs(path: Path, options: ReadOptions) -> tuple[onnx.ModelProto, str | None, str | None]:
    """The model of a source with its style input still open, and the range and channel order of its pictures.

    Raises PipelineError `conflicting-options` for a source without a graph of two inputs.
    """
    from pipeline import sources
    from pipeline.sources import onnx_file

    file_format = sources.identify(path)
    if file_format.name == "onnx":
        return onnx_file.read_onnx(path, file_format)[0], options.input_range, options.channel_order
    if file_format.name in sources.STATE_DICTS:
        network = sources.read(path, dataclasses.replace(options, bind=(), style_input=None, describe=True))
        if network.model is not None and network.contract is not None:
            return network.model, network.contract.input.value_range, network.contract.input.order
    raise PipelineError(
        "conflicting-options",
        f"--style-input needs a network with a second input, but this is {file_format.description} without one",
        subject=str(path),
        remedy="Export the network to ONNX with both inputs, and give that file.",
    )


def _examples(path: Path, name: str, options: BuildOptions) -> list[_Example]:
    """The styles included in the bundle, each with its bindings for the source."""
    from pipeline.sources import style_split
    from pipeline.support.resources import resource

    others = tuple(binding for binding in options.bind if binding.partition("=")[0] != name)
    mine = tuple(binding for binding in options.bind if binding.partition("=")[0] == name)
    model, value_range, order = _with_all_inputs(path, options.reading)
    ports.bind(model, others, value_range, path, order)
    value = style_split.style_value(model, name, path)
    kind = style_split.kind_of(value)
    if not mine and kind == "picture":
        return [_Example("example", (), (*others, f"{name}={resource(_PICTURE)}"))]
    if not mine and kind == "number":
        mine = tuple(f"{name}={number}" for number in range(_count_of(model, name)))
    if not mine:
        raise PipelineError(
            "style-example-missing",
            f"{ports.plain(name)} takes vectors ({ports.described([value])}); nothing says what is usual in them",
            subject=str(path),
            remedy=f"Give at least one as an example: --bind {ports.plain(name)}=NUMBERS, with commas.",
        )
    if len(mine) > several_styles.MOST:
        raise PipelineError(
            "bad-binding",
            f"{len(mine)} styles are to be in the bundle, {several_styles.MOST} at most",
            subject="--bind" if len(mine) == len(options.bind) - len(others) else "--style-input",
            remedy=f"Choose some of them: --bind {ports.plain(name)}=VALUE, once for each.",
        )
    names = several_styles.names_of([(binding,) for binding in mine]) if len(mine) > 1 else [_name_of(mine[0])]
    return [_Example(label, (binding,), (*others, binding)) for label, binding in zip(names, mine, strict=True)]


def _name_of(binding: str) -> str:
    name, _, value = binding.partition("=")
    return Path(value).stem if ports.names_file(value) else f"{name} {value}"[:40]


def _count_of(model: onnx.ModelProto, name: str) -> int:
    """The number of styles of a network with a style index: the rows of the tables that the index selects from."""
    tables = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    same, rows = {name}, []
    for node in model.graph.node:
        if node.op_type in ("Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity") and node.input[0] in same:
            same.update(node.output)
        if node.op_type == "Gather" and node.input[1] in same and node.input[0] in tables:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            rows.append(tables[node.input[0]][axis])
    if not rows:
        raise PipelineError(
            "style-example-missing",
            f"how many styles there are for the number {ports.plain(name)} cannot be seen in the graph",
            subject="--style-input",
            remedy=f"Say which to take: --bind {ports.plain(name)}=0, once for each.",
        )
    return min(rows)


# --- the predictor --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """A style: `given` is what the bundle's predictor takes, `exact` the vector that the source computes."""

    given: np.ndarray
    exact: np.ndarray


@dataclass(frozen=True)
class _Predicted:
    data: bytes | None
    vectors: np.ndarray
    exact: np.ndarray
    pictures: tuple[np.ndarray, ...]
    facts: dict[str, Any]


def _value(path: Path, style: StyleInput, example: _Example, options: BuildOptions) -> _Value:
    from pipeline.sources import style_split

    model, value_range, order = _with_all_inputs(path, options.reading)
    value = next(given for given in ports.required_inputs(model) if given.name == style.name)
    text = next(given for given in example.binding if given.partition("=")[0] == style.name).partition("=")[2]
    exact = ports.value_of(value, text, value_range, order)
    vector = style_split.run_predictor(style.predictor, style.name, exact).reshape(-1)
    if style.kind == "picture":
        return _Value(ports.picture_pixels(value, Path(text)).astype(np.float32), vector)
    return _Value(exact.astype(np.float32).reshape(1, -1, 1, 1), vector)


def _predict(
    path: Path, network: Network, style: StyleInput, values: list[_Value], target: Target, step: Step
) -> _Predicted:
    """The predictor's model file for the target, and its output for each example."""
    exact = np.stack([style_value.exact for style_value in values])
    if style.kind == "number":
        step("predict", f"{len(values)} styles of {style.vector.size:,} numbers, in the bundle as they are")
        return _Predicted(None, exact.astype(np.float32), exact, (), {"predictor": None})
    lowered = _lowered(network, style, values[0].given, target)
    report = facts.report(path, network, lowered)
    reason = _require_valid(path, lowered, target, report)
    if reason:
        step("predict", f"{target.name} cannot run the predictor ({reason}); the bundle has the bound styles only")
        return _Predicted(None, exact.astype(np.float32), exact, (), {"predictor": None, "not_predicted": reason})
    run = target.family.runner(lowered.serialised, target)
    vectors = np.stack([run(style_value.given).reshape(-1) for style_value in values]).astype(np.float32)
    span = float(np.abs(exact).max()) or 1.0
    off = float(np.abs(vectors - exact).max()) / span
    step(
        "predict",
        f"{style.vector.size:,} numbers for each style; {len(lowered.serialised):,} bytes of predictor, "
        f"{report['model']['giga_macs']:g} billion multiply-adds once for each style",
    )
    kept = ("bytes", "digest", "width", "height", "input_name", "output_name", "weights", "giga_macs", "operators")
    facts_of_predictor = {key: report["model"][key] for key in kept} | {
        "input_channels": int(values[0].given.shape[1]),
        "largest_difference": off,
        "findings": report["findings"],
    }
    pictures = tuple(style_value.given for style_value in values) if style.kind == "picture" else ()
    return _Predicted(lowered.serialised, vectors, exact, pictures, {"predictor": facts_of_predictor})


def _lowered(network: Network, style: StyleInput, given: np.ndarray, target: Target) -> Lowered:
    from pipeline.build.lowering import lower_network
    from pipeline.contract import ImageContract, ImageSide
    from pipeline.sources.style_split import bundle_predictor
    from pipeline.support.size import Size

    height, width = given.shape[2:]
    contract = ImageContract(
        ImageSide("0..1", given.shape[1]), ImageSide("0..1", style.vector.size), size_multiple=1
    )
    side = network.contract.input if network.contract is not None else None
    model = bundle_predictor(style, given.shape, side)
    alone = dataclasses.replace(network, model=model, style=None, contract=contract, graph={})
    return lower_network(
        alone,
        target,
        Size(width, height),
        bake_contract=False,
        metadata=facts.metadata(alone, target, True),
        alone=True,
        refits=False,
    )


def _require_valid(path: Path, lowered: Lowered, target: Target, report: dict[str, Any]) -> str:
    """Raise ProofFailed `target-refuses` if the target would compute the predictor wrongly.

    A target that compiles networks has no other way to run it: the result is then the reason, else "".
    """
    from pipeline.validation import validate

    findings = validate(lowered.model, target)
    report["findings"] = [finding.as_dict() for finding in findings]
    broken = [finding for finding in findings if finding.severity in ("error", "wrong")]
    if broken and target.family.has_kernels:
        return f"{broken[0].operator}: {broken[0].reason}"
    if broken:
        raise ProofFailed(
            "target-refuses",
            f"{target.name} would not compute the style predictor right: {broken[0].operator} {broken[0].node}: "
            f"{broken[0].reason}",
            subject=path.name,
            remedy="Bind the styles when you build, --bind once for each, without --style-input.",
            report=report,
        )
    return ""
