"""The other process of `pipeline.graph.apart`: opens the model that it is sent, and runs what it is asked to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

import numpy as np

from pipeline.graph.apart import array_bytes, receive, send
from pipeline.graph.opening import opened
from pipeline.support import limits


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: only the clock ends it
        return
    most = limits.address_space() + size
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _answer(session: Any, question: bytes) -> bytes:
    stream = io.BytesIO(question)
    names, given = json.loads(receive(stream))
    inputs = {name: np.load(io.BytesIO(receive(stream)), allow_pickle=False) for name in given}
    answer = io.BytesIO()
    for result in session.run(names, inputs):
        send(answer, array_bytes(np.asarray(result)))
    return answer.getvalue()


def _serve() -> None:
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    session: Any = None
    while True:
        try:
            question = receive(source)
        except EOFError:
            return
        try:
            if session is None:
                import onnxruntime  # noqa: F401 - what it takes itself is not counted

                _limit_memory(int(sys.argv[1]))
                session = opened(question)
                sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
                told = {
                    side: [[held.name, held.type, held.shape] for held in all_] for side, all_ in sides.items()
                }
                answer = json.dumps(told).encode()
            else:
                answer = _answer(session, question)
            send(sink, b"good")
            send(sink, answer)
        except Exception as error:
            send(sink, b"bad")
            send(sink, f"{type(error).__name__}: {error}"[:2000].encode("utf-8", "replace"))


if __name__ == "__main__":
    _serve()
