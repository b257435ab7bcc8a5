"""The steps up to the proof: a source becomes a model that is lowered, valid for its target, and proven."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.build import facts
from pipeline.contract import contract_missing
from pipeline.support.errors import PipelineError, ProofFailed
from pipeline.support.files import existing_file
from pipeline.support.memory import freeze_loaded_objects
from pipeline.support.plain_text import plural

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered
    from pipeline.build.options import BuildOptions, Step
    from pipeline.contract import ImageContract
    from pipeline.network import Network
    from pipeline.rewrites.base import Refusal
    from pipeline.sources.running import Reference
    from pipeline.support.size import Size
    from pipeline.targets import Target
    from pipeline.validation.findings import Finding
    from pipeline.verify.proof import Picture2Picture, Proof

_HARMLESS = {"warning": "warning", "slow": "slow operator", "note": "note"}
"""Severities that do not stop a build, in the words of its step."""


def make(
    path: Path, options: BuildOptions, step: Step, *, bake_contract: bool, refits: bool = True
) -> tuple[Network, Lowered, Proof, dict[str, Any]]:
    """Everything up to the proof; raises ProofFailed where a rule or the numbers do not hold.

    Without `refits` nothing depends on what the network makes of pictures: the graphs of two styles stay alike.
    """
    from pipeline import sources, targets

    target = targets.get(options.target)
    network = sources.read_one(path, options.reading)
    freeze_loaded_objects()
    step("read", facts.describe(network))
    if bake_contract:
        _require_contract(network)

    lowered, proof, report = _lower_and_prove(path, network, target, options, step, bake_contract, refits=refits)
    if not proof.passed and lowered.fixed_size is None:
        # Sizes that are baked in can make a graph right at its own size and wrong, but running, at others.
        alone = _lower_and_prove(path, network, target, options, step, bake_contract, alone=True, refits=refits)
        if alone[1].passed:
            lowered, proof, report = alone
    worst = proof.worst
    if proof.too_far and worst.max_levels <= proof.tolerance:
        far = min(proof.too_far, key=lambda result: result.psnr or 0.0)
        raise ProofFailed(
            "proof-failed",
            f"on {far.name} at {far.width}x{far.height}, the built graph matches the source with only "
            f"{far.psnr:.1f} dB PSNR; {target.name} requires {proof.least_psnr:g} dB",
            subject=path.name,
            remedy="Nothing was written. Omit --precision to build in float32.",
            report=report,
        )
    if not proof.passed:
        raise ProofFailed(
            "proof-failed",
            f"the built graph differs from the source by {worst.max_levels:.3f} levels of 255 on {worst.name} at "
            f"{worst.width}x{worst.height}; the tolerance is {proof.tolerance:g}",
            subject=path.name,
            remedy=f"Nothing was written. --tolerance {worst.max_levels + 0.005:.2f} would have passed."
            + _what_was_not_lowered(lowered),
            report=report,
        )
    return network, lowered, proof, report


def _lower_and_prove(
    path: Path,
    network: Network,
    target: Target,
    options: BuildOptions,
    step: Step,
    bake_contract: bool,
    alone: bool = False,
    refits: bool = True,
) -> tuple[Lowered, Proof, dict[str, Any]]:
    """One lowering, validated and compared with the source; with `alone`, only for the nominal size."""
    from pipeline import sources
    from pipeline.build import picture_check
    from pipeline.build.lowering import trial_sizes
    from pipeline.rewrites.low_contrast import CODE, MEAN, LowContrast, takes_mean_off
    from pipeline.sources.onnx_file import takes_uint8
    from pipeline.validation import validate
    from pipeline.verify import contrast, guide_pictures
    from pipeline.verify import proof as proving
    from pipeline.verify.compare import difference
    from pipeline.verify.original import against_original

    reference = sources.reference(network)
    lowered = _lower(network, reference, target, options, step, bake_contract, alone, refits)
    findings = validate(lowered.model, target)
    report = facts.report(path, network, lowered)
    report["findings"] = [f.as_dict() for f in findings]
    _require_no_errors(path, target, lowered, findings, report, step)
    if lowered.candidate is None:
        raise PipelineError(
            "graph-does-not-run",
            lowered.notes[-1],
            subject=path.name,
            remedy="The validator finds nothing wrong with the graph: please report this.",
        )

    contract = contract_of(network, reference, lowered)

    def shown(function: Picture2Picture, own: ImageContract | None) -> Picture2Picture:
        made = function if own is None else proving.around(function, own)
        return _of_whole_levels(made) if network.model is not None and takes_uint8(network.model) else made

    outside = None if bake_contract else contract
    candidate, truth = shown(lowered.candidate, outside), shown(lowered.quantised or reference, contract)
    guides = guide_pictures.of_picture(contract.input.guides, options.guides, options.picture)
    tried = trial_sizes(lowered, getattr(reference, "fixed_size", None))
    proof = proving.prove(
        truth,
        candidate,
        tried,
        channels=lowered.input_channels,
        picture=options.picture,
        tolerance=target.family.tolerance(target, options.tolerance),
        notes=_proof_notes(network, lowered),
        least_psnr=target.family.least_psnr(target),
        guides=guides,
    )
    report["proof"] = proof.as_dict()
    if any(finding.code == CODE for finding in findings):
        plain = lowered.uncured and proving.as_target_computes(
            lowered.uncured, target, network.style.numbers if network.style else None
        )
        report["proof"]["low_contrast"] = contrast.measure(
            truth,
            candidate,
            shown(plain, outside) if plain else None,
            tried[0],
            lowered.input_channels,
            options.picture,
            None
            if LowContrast.name in options.skip
            else any(edit.what == MEAN for edit in lowered.edits) or takes_mean_off(lowered.plain),
            guides,
        )
    if lowered.quantised is not None:
        as_given = proving.around(reference, contract)(proof.golden_input)
        report["against_quantised"] = difference(as_given, candidate(proof.golden_input), "picture").as_dict()
    if options.original is not None:
        report["against_original"] = against_original(
            options.original,
            proving.around(sources.reference(_original(options)), contract),
            candidate,
            proving.around(reference, contract),
            proof.golden_input,
        )
    worst = proof.worst
    step(
        "verify",
        f"largest difference {worst.max_levels:.4f} of 255 levels, on {worst.name} at "
        f"{worst.width}x{worst.height}; the tolerance is {proof.tolerance:g}"
        + (f", and {proof.least_psnr:g} dB" if proof.least_psnr is not None else ""),
    )
    if bake_contract and network.contract is not None and proof.passed and options.mask is None:
        suspicion = picture_check.warning(reference, network.contract, proof.golden_input)
        report["proof"]["picture"] = suspicion
        if suspicion:
            step("warning", suspicion)
    return lowered, proof, report


def _lower(
    network: Network,
    reference: Reference,
    target: Target,
    options: BuildOptions,
    step: Step,
    bake_contract: bool,
    alone: bool,
    refits: bool,
) -> Lowered:
    """The network lowered for the target, with what was done reported as steps."""
    from pipeline.build.lowering import lower_network

    try:
        lowered = lower_network(
            network,
            target,
            options.size,
            bake_contract=bake_contract,
            metadata=facts.metadata(network, target, bake_contract),
            skip=options.skip,
            check=options.check,
            device=options.device,
            alone=alone,
            refits=refits,
        )
    except Exception as error:
        if not isinstance(error, PipelineError) or error.code in ("not-handled", "graph-does-not-run"):
            _require_that_it_runs(network, reference, options.size)
        raise
    step("lower", f"{plural(len(lowered.edits), 'edit')}; {facts.counts(lowered.after['operators'])}")
    if lowered.size != options.size:
        rule = f"width and height must be multiples of {lowered.size_multiple}"
        summary = (
            f"{lowered.size} instead of {options.size}: "
            f"{'the network runs only at this size' if lowered.fixed_size else rule}"
        )
        step("size", summary)
        lowered = replace(lowered, notes=(f"made for {summary}", *lowered.notes))
    if lowered.arranged is not None and lowered.arranged["done"]:
        step("arrange", facts.arranged(lowered.arranged))
    if lowered.checks is not None:
        undone = sorted({check.rewrite for check in lowered.checks if check.outcome == "undone"})
        summary = f"undone: {', '.join(undone)}" if undone else "none changed the result"
        step("check", f"{plural(len(lowered.checks), 'application')} of rewrites; {summary}")
    return lowered


def _require_no_errors(
    path: Path, target: Target, lowered: Lowered, findings: list[Finding], report: dict[str, Any], step: Step
) -> None:
    """Report the findings in the lowered model as a step; ProofFailed `target-refuses` for an error or a wrong
    result."""
    broken = [f for f in findings if f.severity in ("error", "wrong")]
    others = Counter(str(f.severity) for f in findings if f not in broken)
    harmless = ", ".join(plural(others[kind], name) for kind, name in _HARMLESS.items() if others[kind])
    minor = f" ({harmless}; none prevents the build)" if harmless else ""
    step("validate", f"{plural(len(broken), 'error')} for {target.name}{minor}")
    if broken:
        raise _target_refuses(path, target, broken, lowered, report)


def _require_that_it_runs(network: Network, reference: Reference, size: Size) -> None:
    """Raise PipelineError `source-does-not-run` where the source takes no picture at all."""
    import numpy as np

    channels = network.contract.input.channels if network.contract is not None else 3
    first: PipelineError | None = None
    for tried in dict.fromkeys((reference.fixed_size or size, size.rounded(32))):
        try:
            reference(np.zeros((1, channels, *tried.hw), np.float32))
        except PipelineError as error:
            first = first or error
            continue
        return
    if first is not None:
        raise first


def _original(options: BuildOptions) -> Network:
    """The network of --original; an architecture that was chosen holds for it too, where it is a state dict."""
    from pipeline import sources

    path = existing_file(options.original or "")
    graph = sources.identify(path).name in sources.PROGRAMS
    return sources.read(path, sources.ReadOptions(architecture=None if graph else options.architecture))


def _require_contract(network: Network) -> None:
    if network.contract is None:
        _require_pictures(network)
        raise contract_missing(
            f"this file ({network.format}) does not contain the value ranges of the network's input and output, "
            "and they cannot be guessed from pictures if the network begins with instance normalisation",
            network.source.name,
        )


def _require_pictures(network: Network) -> None:
    """PipelineError `not-image-to-image` for a graph whose declared output cannot be a picture."""
    for value in network.model.graph.output if network.model is not None else ():
        rank = len(value.type.tensor_type.shape.dim)
        if value.type.tensor_type.HasField("shape") and rank not in (0, 4):
            raise PipelineError(
                "not-image-to-image",
                f"the output {value.name!r} has {rank} dimensions instead of 4, so it is not a batch of pictures",
                subject=network.source.name,
                remedy="This tool takes networks that turn a picture into a picture.",
            )


def _target_refuses(
    path: Path, target: Target, broken: list[Finding], lowered: Lowered, report: dict[str, Any]
) -> ProofFailed:
    first, more = broken[0], len(broken) - 1
    refusal = next((r for r in lowered.refusals if r.node == first.node), None)
    return ProofFailed(
        "target-refuses",
        f"{target.name} would not compute this graph correctly: {first.operator} {first.node}: {first.reason}"
        + (f" (and {more} more)" if more else ""),
        subject=path.name,
        remedy=_what_helps(first, refusal),
        report=report,
    )


def _what_helps(finding: Finding, refusal: Refusal | None) -> str:
    """What to do about a finding that is still there after the lowering, in a sentence or two."""
    if refusal is not None:
        return f"It was not rewritten because {refusal.reason}.{_sentence(refusal.fix)}"
    if "build-unity" in finding.fix:  # the remedy for `pipeline validate`, which was tried here
        return "No rewrite handles this form: change that part of the network, or build for another --target."
    return finding.fix


def _what_was_not_lowered(lowered: Lowered) -> str:
    """The first refusal of a rewrite, a likely cause of a failed proof, in sentences; "" where there is none."""
    if not lowered.refusals:
        return ""
    first = lowered.refusals[0]
    return (
        f" A likely cause: {first.operator} {first.node} was not rewritten because {first.reason}."
        f"{_sentence(first.fix)}"
    )


def _sentence(text: str) -> str:
    """A fix as a sentence behind another; "" for none."""
    return f" {text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def contract_of(network: Network, reference: Picture2Picture, lowered: Lowered) -> ImageContract:
    """The contract of the source network; where none is declared, 0..1 in and the range that its output fits."""
    from pipeline.build.lowering import trial_sizes
    from pipeline.contract import ImageContract, ImageSide
    from pipeline.verify.pictures import noise

    if network.contract is not None:
        return network.contract
    size = trial_sizes(lowered, getattr(reference, "fixed_size", None))[0]
    sample = reference(noise(*size.hw, lowered.input_channels))
    output = "0..255" if abs(sample).max() > 4 else "-1..1" if sample.min() < -0.05 else "0..1"
    return ImageContract(ImageSide("0..1", lowered.input_channels), ImageSide(output, lowered.output_channels))


def _of_whole_levels(function: Picture2Picture) -> Picture2Picture:
    """`function` of the picture rounded to 255ths, as a network that takes bytes is given it."""
    import numpy as np

    return lambda rgb01: function((np.rint(rgb01 * 255) / 255).astype(np.float32))


def _proof_notes(network: Network, lowered: Lowered) -> tuple[str, ...]:
    notes = []
    if network.contract is None:
        notes.append(
            "the value ranges are not declared: levels are measured with an input of 0..1, and with the output "
            "range that fits the values"
        )
    if lowered.quantised is not None:
        notes.append(
            "the source is quantised or in half precision; the proof compares with the same weights in float32, "
            f"because {lowered.target.name} computes in float32"
        )
    return tuple(notes)
