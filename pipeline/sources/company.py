"""A network among others in one state dict: training checkpoints that hold the loss network too, or a copy of it.

Lightning saves every module under its attribute (`transformer.*` beside `vgg.*`), others an average of the weights
beside them (`net.*` and `net_ema.*`). A network is looked for under the names that it has, under the prefix that a
wrapper put before them, and under each prefix in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from pipeline.sources.tensors import StateDict, choose
from pipeline.support.errors import PipelineError

T = TypeVar("T")

DEEPEST = 3
"""Names that a prefix is made of, at most."""
FEWEST = 4
"""Tensors under a prefix that could be a network."""
MOST = 40
"""Prefixes that are looked at."""
UNKNOWN = ("unknown-architecture", "architecture-does-not-fit")


def prefixes(state: StateDict) -> dict[str, int]:
    """Every prefix under which tensors lie, such as "net_ema.", and how many lie there."""
    counts: dict[str, int] = {}
    for name in state.tensors:
        parts = name.split(".")
        for length in range(1, min(len(parts), DEEPEST + 1)):
            prefix = ".".join(parts[:length]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    several = {p: n for p, n in counts.items() if n >= FEWEST}
    return dict(sorted(several.items(), key=lambda held: -held[1])[:MOST])


def under(state: StateDict, prefix: str) -> StateDict:
    """The tensors under a prefix, without it. Raises PipelineError `no-such-prefix` where there are none."""
    prefix = prefix.rstrip(".") + "."
    tensors = {name.removeprefix(prefix): held for name, held in state.tensors.items() if name.startswith(prefix)}
    if not tensors:
        there = ", ".join(repr(held.rstrip(".")) for held in list(prefixes(state))[:8])
        raise PipelineError(
            "no-such-prefix",
            f"no tensor in the file has the prefix {prefix.rstrip('.')!r}",
            subject=state.subject,
            remedy=f"The prefixes are: {there}."
            if there
            else "Omit --prefix, because its names have no prefixes.",
        )
    left = len(state.tensors) - len(tensors)
    told = f"the network with the prefix {prefix.rstrip('.')!r} is used; {left} other tensors are ignored"
    return replace(
        state,
        tensors=tensors,
        removed="",
        integers=[
            replace(held, name=held.name.removeprefix(prefix))
            for held in state.integers
            if held.name.startswith(prefix)
        ],
        classes={},
        notes=[*state.notes, told if left else f"prefix {prefix} removed from all names"],
    )


def found(state: StateDict, recognise: Callable[[StateDict], T]) -> tuple[StateDict, T]:
    """The state dict that `recognise` knows: the whole one, or the only part of it under a prefix.

    Raises what `recognise` raises for the whole, and PipelineError `several-state-dicts` where several parts are
    known.
    """
    try:
        return state, recognise(state)
    except PipelineError as error:
        if error.code not in UNKNOWN:
            raise
        whole = error
    known: dict[str, tuple[StateDict, T]] = {}
    for prefix in prefixes(state):
        part = under(state, prefix)
        try:
            known[prefix.rstrip(".")] = part, recognise(part)
        except PipelineError as error:
            if error.code not in UNKNOWN:
                raise
    if len(known) > 1:
        raise several(state, list(known))
    if not known:
        raise whole
    return next(iter(known.values()))


def several(state: StateDict, names: list[str]) -> PipelineError:
    """The same network lies under several prefixes."""
    listed = ", ".join(repr(name) for name in names)
    return PipelineError(
        "several-state-dicts",
        f"the checkpoint contains {len(names)} such networks, with the prefixes {listed}",
        subject=state.subject,
        remedy=choose(names),
    )


def fitting(state: StateDict, expected: Collection[str]) -> StateDict:
    """The state dict under the names that a module of these tensors has.

    What a wrapper put before all names may be part of the module's own names (`self.model = Sequential(...)`): the
    form with most of the names wins. Where the names lie under a prefix beside others, the part is taken. Raises
    PipelineError `several-state-dicts`.
    """
    parts = state.removed.split(".") if state.removed else []
    forms = [".".join(parts[length:]) for length in range(len(parts), -1, -1)]
    named = [_renamed(state, form) if form else state for form in forms]
    best = max(named, key=lambda form: sum(name in form.tensors for name in expected))
    missing = {name for name in expected if name not in best.tensors and not name.endswith("num_batches_tracked")}
    if not missing:
        return best
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    whole = [prefix for prefix in prefixes(state) if all(f"{prefix}{name}" in state.tensors for name in needed)]
    if len(whole) > 1:
        raise several(state, [prefix.rstrip(".") for prefix in whole])
    return under(state, whole[0]) if whole else best


def _renamed(state: StateDict, prefix: str) -> StateDict:
    return replace(
        state,
        tensors={f"{prefix}.{name}": held for name, held in state.tensors.items()},
        integers=[replace(held, name=f"{prefix}.{held.name}") for held in state.integers],
        notes=[note for note in state.notes if not note.startswith("prefix ")],
    )
