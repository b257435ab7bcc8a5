"""Topological order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def topological(count: int, needs: Callable[[int], Iterable[int]]) -> list[int]:
    """The numbers below `count` so that each comes after those it `needs`; otherwise in their own order.

    Depth first and without recursion, in time linear in what is needed. Left out: what is on a cycle, or needs
    something that is.
    """
    if all(needed < number for number in range(count) for needed in needs(number)):
        return list(range(count))  # most files are sorted
    order: list[int] = []
    done: dict[int, bool] = {}  # False while it is on the path, and for good where it is left out
    for root in range(count):
        path: list[tuple[int, list[int], Iterator[int]]] = []
        following: int | None = root
        while following is not None or path:
            if following is not None:
                if following not in done:
                    done[following] = False
                    held = list(needs(following))
                    path.append((following, held, iter(held)))
            elif path:
                number, held, _ = path.pop()
                if all(done[needed] for needed in held):
                    done[number] = True
                    order.append(number)
            following = next((needed for needed in path[-1][2] if needed not in done), None) if path else None
    return order
