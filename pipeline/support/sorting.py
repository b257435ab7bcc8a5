"""Topological order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def topological(count: int, needs: Callable[[int], Iterable[int]]) -> list[int]:
    """Sort the numbers from 0 to `count` - 1 so that each comes after those it `needs`; stable otherwise.

    Depth-first without recursion, in linear time. Numbers on a cycle, and those that need one, are left out.
    """
    if all(needed < number for number in range(count) for needed in needs(number)):
        return list(range(count))  # most files are sorted
    order: list[int] = []
    done: dict[int, bool] = {}  # False while it is on the path, and finally for what is left out
    for root in range(count):
        path: list[tuple[int, list[int], Iterator[int]]] = []
        following: int | None = root
        while following is not None or path:
            if following is not None:
                if following not in done:
                    done[following] = False
                    required = list(needs(following))
                    path.append((following, required, iter(required)))
            elif path:
                number, required, _ = path.pop()
                if all(done[needed] for needed in required):
                    done[number] = True
                    order.append(number)
            following = next((needed for needed in path[-1][2] if needed not in done), None) if path else None
    return order
