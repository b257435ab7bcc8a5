"""Assigns values to buffers: a value is live from the dispatch that writes it to the last that reads it."""

from __future__ import annotations

from pipeline.targets.compute.plan import PICTURE, Plan


def assign(plan: Plan) -> None:
    """Assign a slot (buffer) to every stored value; values with disjoint lifetimes may share one.

    A value takes the smallest free slot that is large enough at the nominal size, or else the largest free one.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, dispatch in enumerate(plan.dispatches):
        for value in (dispatch.output, dispatch.kept, dispatch.first, dispatch.second):
            if value < 0 or value == PICTURE or not plan.values[value].stored:
                continue
            if value == dispatch.output and dispatch.macro("PAINT"):
                continue
            root = plan.values[value].root
            first.setdefault(root, number)
            last[root] = number
    if plan.numbers_in >= 0:
        first[plan.numbers_in] = 0
        last.setdefault(plan.numbers_in, 0)
    if plan.numbers_out:
        first.setdefault(plan.values[plan.result].root, 0)
        last[plan.values[plan.result].root] = len(plan.dispatches)
    sizes = plan.sizes(plan.size)
    needs = {root: plan.values[root].blocks * sizes[root].pixels for root in first}
    capacities: list[int] = []
    free: list[int] = []
    for number in range(len(plan.dispatches)):
        for root in sorted((r for r in first if first[r] == number), key=lambda r: -needs[r]):
            slot = _fitting(free, capacities, needs[root])
            if slot < 0:
                slot = len(capacities)
                capacities.append(0)
            else:
                free.remove(slot)
            capacities[slot] = max(capacities[slot], needs[root])
            plan.values[root].slot = slot
        # A slot whose value is read here for the last time is free from the next dispatch on.
        free += [plan.values[r].slot for r in first if last[r] == number]
    plan.slots = len(capacities)


def clash(plan: Plan) -> str:
    """The title of a dispatch that reads and writes the same buffer, which no API allows; "" if there is none."""

    def slots(*values: int) -> set[int]:
        used = {plan.values[plan.values[value].root].slot for value in values if value > PICTURE}
        return used - {-1}

    for dispatch in plan.dispatches:
        if slots(dispatch.first, dispatch.second) & slots(dispatch.output, dispatch.kept):
            return dispatch.title
    return ""


def _fitting(free: list[int], capacities: list[int], needed: int) -> int:
    """The smallest free slot that is large enough, else the largest one, else -1."""
    enough = [slot for slot in free if capacities[slot] >= needed]
    if enough:
        return min(enough, key=lambda slot: (capacities[slot], slot))
    return max(free, key=lambda slot: (capacities[slot], slot)) if free else -1
