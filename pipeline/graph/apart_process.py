"""The other process of `pipeline.graph.apart`: opens the model that it is sent and runs it on request."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from pipeline.graph.apart import array_bytes, receive, send
from pipeline.graph.opening import opened
from pipeline.support import limits


def limit_memory(size: int) -> None:
    """Limit the memory of this process to what it has now and `size` bytes more."""
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


def serve(answer_to: Callable[[bytes], bytes]) -> None:
    """Answer requests from stdin until it is closed; what libraries print is discarded."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while True:
        try:
            question = receive(source)
        except EOFError:
            return
        try:
            answer = answer_to(question)
            send(sink, b"good")
            send(sink, answer)
        except Exception as error:
            send(sink, b"bad")
            send(sink, f"{type(error).__name__}: {error}"[:2000].encode("utf-8", "replace"))


class _Session:
    """Opens the model of the first request; each later request runs it."""

    def __init__(self) -> None:
        self.session: Any = None

    def __call__(self, question: bytes) -> bytes:
        if self.session is not None:
            return _answer(self.session, question)

        import onnxruntime  # noqa: F401 - what it takes itself is not counted

        limit_memory(int(sys.argv[1]))
        self.session = opened(question, len(onnx.ModelProto.FromString(question).graph.node))
        sides = {"inputs": self.session.get_inputs(), "outputs": self.session.get_outputs()}
        description = {
            side: [[value.name, value.type, value.shape] for value in all_] for side, all_ in sides.items()
        }
        return json.dumps(description).encode()


if __name__ == "__main__":
    serve(_Session())
