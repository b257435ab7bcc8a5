"""The networks that the pipeline knows: recognised by names and shapes, built as torch modules.

`recognise` needs no torch; `build` and `load` do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.architectures import (
    animegan,
    compact,
    conditional,
    cyclegan,
    fast_neural_style,
    few_shot,
    fritz,
    mobile,
    msg_net,
    pix2pix,
    rrmina,
    rrmina_dense,
)
from pipeline.architectures.base import Family, Parameters, Recognised, Shapes, Tensors, Variant
from pipeline.support.errors import MissingDependency, PipelineError

if TYPE_CHECKING:
    from torch import nn

    from pipeline.sources.tensors import StateDict

__all__ = ["FAMILIES", "Recognised", "Variant", "build", "family_of", "load", "names", "recognise"]

FAMILIES: tuple[Family, ...] = (
    fast_neural_style.FAMILY,
    fast_neural_style.SCALED_FAMILY,
    fritz.FAMILY,
    few_shot.FAMILY,
    cyclegan.FAMILY,
    pix2pix.FAMILY,
    compact.FAMILY,
    animegan.FAMILY,
    rrmina.FAMILY,
    rrmina_dense.DENSE_FAMILY,
    rrmina_dense.UNET_FAMILY,
    mobile.FAMILY,
    conditional.FAMILY,
    msg_net.FAMILY,
)
STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


def names() -> tuple[str, ...]:
    """All names that `--architecture` takes, besides `package.module:factory`."""
    return tuple(variant.name for family in FAMILIES for variant in family.variants)


def holds_no_sizes(name: str) -> bool:
    """Whether a named architecture is known, and its graph free of the traced picture's size in every opset."""
    return any(
        variant.name == name and not variant.holds_sizes for family in FAMILIES for variant in family.variants
    )


def family_of(name: str) -> Family:
    """The family that a named architecture belongs to. Raises PipelineError `unknown-architecture-name`."""
    for family in FAMILIES:
        if any(variant.name == name for variant in family.variants):
            return family
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.3)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise PipelineError(
        "unknown-architecture-name",
        f"there is no architecture named {name!r}",
        subject="--architecture",
        remedy=f"{hint}Known: {', '.join(names())}; or your own as package.module:factory.",
    )


def recognise(state: StateDict, name: str | None = None) -> Recognised:
    """Which known network a state dict is: parameters, image contract and why.

    `name` is the user's choice among variants. Raises PipelineError: unknown-architecture (with the nearest
    known one and the first differing tensor), ambiguous-architecture (with the choices),
    architecture-does-not-fit (a name that the tensors contradict).
    """
    families = FAMILIES if name is None else (family_of(name),)
    attempts = [_Attempt(family, state) for family in families]
    best = max(attempts, key=lambda attempt: attempt.likeness)
    if best.difference and name is not None:
        best = _match_by_order(best, state) or best
    if best.difference:
        raise _unknown(best, state, name)
    choice = best.family.choose(best.params, state.shapes, state.classes)
    if name is not None:
        chosen = name
        reason = f"--architecture {name} was given; {choice.reason}"
        if name not in choice.names:
            if not _shapes_allow(best, name):
                raise PipelineError(
                    "architecture-does-not-fit",
                    f"these weights do not fit {name}: {choice.reason}",
                    subject=state.subject,
                    remedy=f"Use --architecture {' or '.join(choice.names)}, or omit the option.",
                )
            best.notes.append(f"--architecture {name} overrides what the names suggest: {choice.reason}")
    elif len(choice.names) == 1:
        chosen, reason = choice.names[0], choice.reason
    else:
        raise _ambiguous(best.family, choice.names, choice.reason, state.subject)
    contract = best.family.contract(best.params)
    facts = ("input_range", "output_range", "channel_order", "size_multiple")
    contract = replace(contract, sources=dict.fromkeys(facts, f"architecture {chosen}"))
    weights = sum(v.size for k, v in best.tensors.items() if not STATISTICS.search(k))
    return Recognised(chosen, best.params, contract, reason, tuple(best.notes), best.tensors, weights)


class _Attempt:
    """A state dict compared with one family: how much of it fits, and the first difference."""

    def __init__(self, family: Family, state: StateDict) -> None:
        self.family = family
        self.tensors, self.notes = family.clean(state.tensors)
        self.found: Shapes = {key: value.shape for key, value in self.tensors.items()}
        self.params = family.infer(self.found)
        self.expected = family.shapes(self.params)
        same = sum(self.found.get(key) == shape for key, shape in self.expected.items())
        self.named = sum(key in self.found for key in self.expected)
        # Names that differ only slightly count a little, so that renamed layers still find their family.
        total = max(len(self.found), len(self.expected), 1)
        close = _near_names(self.expected, self.found) if not self.named else 0
        self.likeness = (same + self.named) / (2 * total) + close * 1e-3
        self.difference = _first_difference(self.expected, self.found)


def _near_names(expected: Mapping[str, object], found: Mapping[str, object]) -> float:
    """Mean similarity of the names as text, 0..1, computed on the first few of them."""
    sample = list(found)[:8]
    scores = [
        max((difflib.SequenceMatcher(None, a, b).ratio() for b in list(expected)[:80]), default=0.0)
        for a in sample
    ]
    return sum(scores) / len(scores) if scores else 0.0


def _first_difference(expected: Shapes, found: Shapes) -> str:
    """Describe the first tensor that is missing, has a wrong shape, or is superfluous; "" if all fit."""
    extra = [key for key in found if key not in expected]
    for key, shape in expected.items():
        if key not in found:
            near = difflib.get_close_matches(key, extra[:200], n=1, cutoff=0.6)
            hint = f"; the file has {near[0]!r} of shape {list(found[near[0]])}" if near else ""
            return f"tensor {key!r} of shape {list(shape)} is missing{hint}"
        if found[key] != shape:
            return f"tensor {key!r} has the shape {list(found[key])} instead of {list(shape)}"
    if extra:
        return f"it has no tensor {extra[0]!r} of shape {list(found[extra[0]])}"
    return ""


def _match_by_order(attempt: _Attempt, state: StateDict) -> _Attempt | None:
    """The state dict with its unknown names replaced by the family's missing ones, matched by order and shape
    (norm1.weight becomes in1.weight); None if the orders or shapes do not match."""
    missing = [key for key in attempt.expected if key not in attempt.found]
    extra = [key for key in attempt.found if key not in attempt.expected]
    if not attempt.named or not missing or len(missing) != len(extra):
        return None
    if any(attempt.expected[new] != attempt.found[old] for new, old in zip(missing, extra, strict=True)):
        return None
    names = dict(zip(extra, missing, strict=True))
    tensors = {names.get(key, key): value for key, value in attempt.tensors.items()}
    renamed = _Attempt(attempt.family, replace(state, tensors=tensors))
    if renamed.difference:
        return None
    example = f"{extra[0]!r} for {missing[0]!r}"
    renamed.notes[:0] = [*attempt.notes, f"{len(extra)} tensors were matched by their order, such as {example}"]
    return renamed


def _unknown(best: _Attempt, state: StateDict, name: str | None) -> PipelineError:
    nearest = name or best.family.variants[0].name
    matching = f"{best.named} of {len(best.expected)} tensor names are the same"
    if name is not None:
        return PipelineError(
            "architecture-does-not-fit",
            f"these weights are not {name}: {best.difference} ({matching})",
            subject=state.subject,
            remedy="Omit --architecture to have the network recognised, or name your own package.module:factory.",
        )
    remedy = "Name the code of the network with --architecture package.module:factory, or export it to ONNX."
    if _match_by_order(best, state) is not None:
        remedy = (
            f"If it is that network with renamed layers, use --architecture {nearest}, which matches the tensors "
            "by their order. Otherwise name its code with --architecture package.module:factory, or export it to "
            "ONNX."
        )
    if not best.named:
        first = ", ".join(repr(key[:60]) for key in list(state.tensors)[:3])
        first += ", ..." if len(state.tensors) > 3 else ""
        return PipelineError(
            "unknown-architecture",
            f"these {len(state.tensors)} tensors ({first}) are not a known network",
            subject=state.subject,
            remedy=remedy,
        )
    return PipelineError(
        "unknown-architecture",
        f"these {len(state.tensors)} tensors are not a known network; the most similar one is {nearest} "
        f"({matching}), where {best.difference}",
        subject=state.subject,
        remedy=remedy,
    )


def _ambiguous(family: Family, fitting: tuple[str, ...], reason: str, subject: str) -> PipelineError:
    lines = "; ".join(f"{v.name} ({v.summary})" for v in family.variants if v.name in fitting)
    return PipelineError(
        "ambiguous-architecture",
        f"{reason}; the weights do not determine which",
        subject=subject,
        remedy=f"Choose one with --architecture: {lines}. The forward() of the training code shows which it is.",
    )


def _shapes_allow(attempt: _Attempt, name: str) -> bool:
    """Whether a variant that the names rule out can still be built from these shapes."""
    if attempt.family is fast_neural_style.FAMILY:
        a, b, _ = attempt.params["widths"]
        return name == fast_neural_style.PLAIN.name or tuple(attempt.params.get("decoder", (b, a))) == (b, a)
    return False


def build(name: str, params: Parameters) -> nn.Module:
    """The torch module of a named architecture with these parameters, weights as torch initialises them, in eval
    mode. Raises MissingDependency without torch, and PipelineError `architecture-takes-style` for a network whose
    second input is a style."""
    family = family_of(name)
    if family.module is None:
        raise PipelineError(
            "architecture-takes-style",
            f"{name} takes a style as second input, and exists only as a graph",
            subject="--architecture",
            remedy="Build it with --bind or --style-input; for training choose another architecture.",
        )
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "torch", f"building a {name} network") from None
    return family.module(name, params).eval()


def load(module: nn.Module, tensors: Tensors, subject: str = "") -> nn.Module:
    """Load the tensors into the module, whose names and shapes must all fit, and return it in eval mode.

    Raises PipelineError `weights-do-not-fit` naming the first tensor that does not.
    """
    import torch

    expected: Shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    counters = {key for key in expected if key.endswith(".num_batches_tracked") and key not in tensors}
    found = {key: value.shape for key, value in tensors.items()}
    difference = _first_difference({k: v for k, v in expected.items() if k not in counters}, found)
    if difference:
        raise PipelineError(
            "weights-do-not-fit",
            f"the weights do not fit the module: {difference}",
            subject=subject,
            remedy="Use the state dict of exactly this module, or construct the module with the widths that it "
            "was trained with.",
        )
    module.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=not counters)
    return module.eval()
