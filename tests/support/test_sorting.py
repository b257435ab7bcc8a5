"""Topological order: what is needed comes first, else the given order; cycles and what is behind them are out."""

from __future__ import annotations

import random

from pipeline.support.sorting import topological


def ordered(needs: dict[int, list[int]], count: int) -> list[int]:
    return topological(count, lambda number: needs.get(number, []))


def test_sorted_numbers_keep_their_order():
    assert ordered({1: [0], 2: [0], 3: [1, 2]}, 4) == [0, 1, 2, 3]


def test_what_is_needed_comes_first():
    assert ordered({0: [2], 2: [3], 1: [0]}, 4) == [3, 2, 0, 1]


def test_a_cycle_and_what_is_behind_it_are_left_out():
    assert ordered({1: [2], 2: [3], 3: [1, 0], 4: [3], 5: [0]}, 6) == [0, 5]
    assert ordered({0: [0]}, 2) == [1]


def test_a_long_chain_needs_no_recursion():
    assert ordered({number: [number + 1] for number in range(49_999)}, 50_000) == list(range(49_999, -1, -1))


def test_random_graphs_agree_with_removing_what_is_free():
    draw = random.Random(0)
    for _ in range(200):
        count = draw.randint(1, 12)
        needs = {number: draw.choices(range(count), k=draw.randint(0, 2)) for number in range(count)}
        free: set[int] = set()
        while more := {n for n in range(count) if n not in free and free.issuperset(needs[n])}:
            free |= more
        order = ordered(needs, count)
        assert set(order) == free and len(order) == len(free)
        assert all(order.index(needed) < order.index(number) for number in order for needed in needs[number])
