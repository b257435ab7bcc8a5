"""Several styles of one network in one build: each is built and proven by itself, then all in one file.

A style is a set of values of the inputs beside the picture (`--bind`, given once for each style). What the styles
share is stored once; what differs is interpolated by the weights that the game chooses (`graph.weighted`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.build import facts
from pipeline.build import prove as proven
from pipeline.support.errors import PipelineError, ProofFailed

if TYPE_CHECKING:
    import onnx

    from pipeline.build.lowering import Lowered
    from pipeline.build.options import BuildOptions, Step
    from pipeline.network import Network
    from pipeline.targets import Target
    from pipeline.targets.family import StyledPicture
    from pipeline.verify.proof import Picture2Picture, Proof

MOST = 32
"""Styles of one build: each is a whole build, and as many pictures in the bundle."""


@dataclass(frozen=True)
class Styled:
    """The result; `lowered` and `proof` are those of the first style, with the model that contains all styles."""

    network: Network
    lowered: Lowered
    proof: Proof
    report: dict[str, Any]
    golden_outputs: tuple[np.ndarray, ...]
    """What the source makes of the golden input with each style, (1, C, H, W) in 0..1."""


def make(path: Path, options: BuildOptions, bindings: Sequence[tuple[str, ...]], step: Step) -> Styled:
    """Build and prove each style, then the model of all. Raises ProofFailed, and PipelineError `styles-differ`."""
    from pipeline import targets

    if len(bindings) > MOST:
        raise PipelineError(
            "bad-binding",
            f"{len(bindings)} styles are bound, but one build can contain at most {MOST}",
            subject="--bind",
            remedy="Build some of them as another bundle, with another --name.",
        )
    target = targets.get(options.target)
    names = names_of(bindings)
    builds = []
    for name, binding in zip(names, bindings, strict=True):
        step("style", name)
        single = dataclasses.replace(options, bind=binding)
        builds.append(proven.make(path, single, step, bake_contract=True, refits=False))
    network, first = builds[0][:2]
    lowereds = [build[1] for build in builds]
    metadata = facts.metadata(network, target, True)
    data = target.family.write_styles([lowered.graph for lowered in lowereds], target, metadata)
    model = target.family.read(data)
    report = facts.report(path, network, dataclasses.replace(first, model=model, serialised=data))
    _validated(path, model, first, report, options)

    run = target.family.style_runner(data, target)
    truths = [truth(build[0], build[1]) for build in builds]
    proofs = [
        proved(truth, mixed(run, weights), first, options)
        for truth, weights in zip(truths, np.eye(len(builds)).tolist(), strict=True)
    ]
    blend = _blended([build[0] for build in builds])
    blended = None
    if blend is not None:
        half = [0.5, 0.5, *[0.0] * (len(builds) - 2)]
        blended = proved(truth(blend, first), mixed(run, half), first, options)
    every = [*zip(names, proofs, strict=True), *([("a blend of two", blended)] if blended else [])]
    require(every, path, report, step, "Build each style by itself, with one --bind and a --name of its own.")
    report["proof"] = proofs[0].as_dict()
    report["styles"] = [
        {"name": name, "bound": list(binding), "proof": one.as_dict()}
        for name, binding, one in zip(names, bindings, proofs, strict=True)
    ]
    report["style_blend"] = None if blended is None else blended.as_dict()
    inputs = [value.name for value in model.graph.input]
    report["model"]["style_input"] = inputs[1] if len(inputs) > 1 else ""
    combined = dataclasses.replace(
        first, model=model, serialised=data, candidate=mixed(run, np.eye(len(builds))[0].tolist())
    )
    return Styled(network, combined, proofs[0], report, tuple(one.golden_output for one in proofs))


def require(
    proofs: Sequence[tuple[str, Proof]], path: Path, report: dict[str, Any], step: Step, remedy: str
) -> None:
    """Report the proof of each style by its name; raise ProofFailed for the first that failed."""
    for name, one in proofs:
        step("verify", f"{name}: largest difference {one.worst.max_levels:.4f} of 255 levels")
        if not one.passed:
            raise ProofFailed(
                "proof-failed",
                f"with {name} the built graph differs from the source by {one.worst.max_levels:.3f} levels of "
                f"255; the tolerance is {one.tolerance:g}",
                subject=path.name,
                remedy=remedy,
                report=report,
            )


def mixed(run: StyledPicture, weights: Sequence[float]) -> Picture2Picture:
    """A network of several styles as a function of the picture, with the second input given."""
    return lambda picture: run(picture, weights)


def check(options: BuildOptions, target: Target) -> None:
    """Raise PipelineError `conflicting-options` if the target cannot pack a network of several styles."""
    from pipeline.compress.kinds import FLOAT

    if options.input_channels is not None:
        raise PipelineError(
            "conflicting-options",
            "guides work only for a bundle of one style",
            subject="--input-channels",
            remedy="Bind one style with --bind and omit --style-input, or omit --input-channels.",
        )
    if options.weights != FLOAT and not target.family.packs_styles:
        raise PipelineError(
            "conflicting-options",
            f"{target.name} stores the weights of several styles as differences that are mixed at run time, and "
            "cannot pack these",
            subject="--weights",
            remedy="Omit --weights, or build each style with one --bind and a --name of its own.",
        )


def refuse(options: BuildOptions) -> None:
    """Raise PipelineError `conflicting-options` where several styles are bound and there is no bundle."""
    from pipeline.sources import ports

    if len(ports.styles(options.bind)) > 1:
        raise PipelineError(
            "conflicting-options",
            "several styles are bound, but only a bundle can contain several",
            subject="--bind",
            remedy="Use pipeline build-unity, or bind one.",
        )


def names_of(bindings: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each style from the bindings that differ: a picture's file name (`wave`), or `style 2`."""
    from pipeline.sources import ports

    shared = set(bindings[0]).intersection(*map(set, bindings[1:]))
    found = []
    for binding in bindings:
        words = []
        for one in binding:
            name, _, value = one.partition("=")
            if one not in shared:
                words.append(Path(value).stem if ports.names_file(value) else f"{name} {value}"[:40])
        found.append(", ".join(words) or "style")
    return [f"{name} ({number + 1})" if found.count(name) > 1 else name for number, name in enumerate(found)]


def _validated(
    path: Path, model: onnx.ModelProto, lowered: Lowered, report: dict[str, Any], options: BuildOptions
) -> None:
    from pipeline.validation import validate

    findings = validate(model, lowered.target)
    report["findings"] = [finding.as_dict() for finding in findings]
    broken = [finding for finding in findings if finding.severity in ("error", "wrong")]
    if broken:
        raise ProofFailed(
            "target-refuses",
            f"{lowered.target.name} would not compute the network of all styles correctly: {broken[0].operator} "
            f"{broken[0].node}: {broken[0].reason}",
            subject=path.name,
            remedy="Build each style by itself, with one --bind and a --name of its own.",
            report=report,
        )


def truth(network: Network, lowered: Lowered) -> Picture2Picture:
    """The source, in float32 even if it is quantised, as a function from RGB 0..1 to RGB 0..1."""
    from pipeline.build.float_source import float_reference
    from pipeline.verify.proof import around

    reference = float_reference(network)
    return around(reference, proven.contract_of(network, reference, lowered))


def proved(truth: Picture2Picture, candidate: Picture2Picture, lowered: Lowered, options: BuildOptions) -> Proof:
    """The proof of one style, on the pictures and at the sizes of every proof."""
    from pipeline.build.lowering import trial_sizes
    from pipeline.verify import proof as proving

    return proving.prove(
        truth,
        candidate,
        trial_sizes(lowered, None),
        channels=lowered.input_channels,
        picture=options.picture,
        tolerance=lowered.target.family.tolerance(lowered.target, options.tolerance),
    )


def _blended(networks: Sequence[Network]) -> Network | None:
    """The source with the constants of its first two styles interpolated halfway; None if there are none."""
    from onnx import numpy_helper

    first, second = networks[0].model, networks[1].model
    if first is None or second is None:
        return None
    model = type(first)()
    model.CopyFrom(first)
    others = {tensor.name: tensor for tensor in second.graph.initializer}
    for tensor in model.graph.initializer:
        other = others.get(tensor.name)
        if other is None or list(other.dims) != list(tensor.dims):
            return None
        values, other_values = numpy_helper.to_array(tensor), numpy_helper.to_array(other)
        if np.array_equal(values, other_values):
            continue
        if values.dtype.kind != "f":
            return None
        middle = ((values.astype(np.float64) + other_values) / 2).astype(values.dtype)
        tensor.CopyFrom(numpy_helper.from_array(middle, tensor.name))
    return dataclasses.replace(networks[0], model=model)
