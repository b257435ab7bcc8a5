"""Find one network among several in a state dict, by the prefix of its tensors' names.

Lightning saves every module under its attribute (`transformer.*` beside `vgg.*`); other training code saves an
average of the weights beside them (`net.*` and `net_ema.*`). A network is searched under its own names, under the
prefix that a wrapper added, and under each prefix in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from pipeline.sources.tensors import StateDict, choose
from pipeline.support.errors import PipelineError

T = TypeVar("T")

MAX_PARTS = 3
"""Most parts of a prefix: "a.b.c." has three."""
MIN_TENSORS = 4
"""Fewest tensors under a prefix for it to be searched."""
MAX_PREFIXES = 40
"""Most prefixes that are searched."""
UNKNOWN = ("unknown-architecture", "architecture-does-not-fit")


def prefixes(state: StateDict) -> dict[str, int]:
    """The prefixes of tensor names, such as "net_ema.", with the number of tensors under each; most first."""
    counts: dict[str, int] = {}
    for name in state.tensors:
        parts = name.split(".")
        for length in range(1, min(len(parts), MAX_PARTS + 1)):
            prefix = ".".join(parts[:length]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    several = {p: n for p, n in counts.items() if n >= MIN_TENSORS}
    return dict(sorted(several.items(), key=lambda item: -item[1])[:MAX_PREFIXES])


def under(state: StateDict, prefix: str) -> StateDict:
    """The tensors under a prefix, with the prefix removed. Raises PipelineError `no-such-prefix`."""
    prefix = prefix.rstrip(".") + "."
    tensors = {
        name.removeprefix(prefix): tensor for name, tensor in state.tensors.items() if name.startswith(prefix)
    }
    if not tensors:
        available = ", ".join(repr(found.rstrip(".")) for found in list(prefixes(state))[:8])
        raise PipelineError(
            "no-such-prefix",
            f"no tensor in the file has the prefix {prefix.rstrip('.')!r}",
            subject=state.subject,
            remedy=f"The prefixes are: {available}."
            if available
            else "Omit --prefix, because its names have no prefixes.",
        )
    left = len(state.tensors) - len(tensors)
    note = f"the network with the prefix {prefix.rstrip('.')!r} is used; {left} other tensors are ignored"
    return replace(
        state,
        tensors=tensors,
        removed="",
        integers=[
            replace(tensor, name=tensor.name.removeprefix(prefix))
            for tensor in state.integers
            if tensor.name.startswith(prefix)
        ],
        classes={},
        notes=[*state.notes, note if left else f"prefix {prefix} removed from all names"],
    )


def find_known(state: StateDict, recognise: Callable[[StateDict], T]) -> tuple[StateDict, T]:
    """The state dict that `recognise` knows, and its result: the whole one, or the only part under a prefix.

    Raises what `recognise` raises for the whole state dict, and PipelineError `several-state-dicts` where it knows
    several parts.
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
        raise several_networks(state, list(known))
    if not known:
        raise whole
    return next(iter(known.values()))


def several_networks(state: StateDict, names: list[str]) -> PipelineError:
    """The error for a network that the checkpoint contains under several prefixes."""
    listed = ", ".join(repr(name) for name in names)
    return PipelineError(
        "several-state-dicts",
        f"the checkpoint contains {len(names)} such networks, with the prefixes {listed}",
        subject=state.subject,
        remedy=choose(names),
    )


def fit_names(state: StateDict, expected: Collection[str]) -> StateDict:
    """Rename the tensors to match the names that a module expects.

    A prefix that was removed as a wrapper's may be part of the module's own names (`self.model =
    Sequential(...)`): the form that matches most names is used. Where all names exist under one prefix among
    others, that part is used. Raises PipelineError `several-state-dicts`.
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
        raise several_networks(state, [prefix.rstrip(".") for prefix in whole])
    return under(state, whole[0]) if whole else best


def _renamed(state: StateDict, prefix: str) -> StateDict:
    return replace(
        state,
        tensors={f"{prefix}.{name}": tensor for name, tensor in state.tensors.items()},
        integers=[replace(tensor, name=f"{prefix}.{tensor.name}") for tensor in state.integers],
        notes=[note for note in state.notes if not note.startswith("prefix ")],
    )
