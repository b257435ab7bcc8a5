"""Runs a model in a process of its own, which the system's memory limit and a clock can end.

For networks from files whose cost cannot be estimated from their shapes. Both sides talk through pipes in numpy's
own format, in which nothing is ever unpickled: a process that a hostile file took over can send arrays and no
more.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from pipeline.support import limits
from pipeline.support.errors import LimitReached

_LENGTH = struct.Struct("<Q")
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate", "MemoryError", "Unable to allocate")


class ApartError(RuntimeError):
    """What ONNX Runtime raised in the other process, as text."""


@dataclass(frozen=True)
class Declared:
    """An input or output as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str]


class Apart:
    """A session in another process; `why` names the node for which it is there."""

    def __init__(self, model: bytes, what: str, why: str) -> None:
        self._what = f"running {what}" + (f" (how long {why} takes is not known beforehand)" if why else "")
        self._memory, self._seconds = limits.run_memory(), limits.run_seconds()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.graph.apart_process", str(self._memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        told = json.loads(self._ask(model))
        self._inputs = [Declared(*held) for held in told["inputs"]]
        self._outputs = [Declared(*held) for held in told["outputs"]]

    def get_inputs(self) -> Sequence[Declared]:
        return self._inputs

    def get_outputs(self) -> Sequence[Declared]:
        return self._outputs

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names (None: all). Raises LimitReached, and ApartError for what it raised there."""
        chosen = [held.name for held in self._outputs] if names is None else list(names)
        question = io.BytesIO()
        send(question, json.dumps([chosen, list(inputs)]).encode())
        for value in inputs.values():
            send(question, array_bytes(value))
        answer = io.BytesIO(self._ask(question.getvalue()))
        return [np.load(io.BytesIO(receive(answer)), allow_pickle=False) for _ in chosen]

    def close(self) -> None:
        """End the other process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def __del__(self) -> None:
        if sys is not None and not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self.close()

    def _ask(self, question: bytes) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        clock = threading.Timer(self._seconds, end)
        clock.start()
        try:
            with contextlib.suppress(OSError):
                send(self._process.stdin, question)
            state = receive(self._process.stdout, self._memory)
            answer = receive(self._process.stdout, self._memory)
        except EOFError:
            self.close()
            if late.is_set():
                raise limits.too_much_time(self._what, self._seconds) from None
            raise self._no_memory() from None
        finally:
            clock.cancel()
        if state == b"good":
            return answer
        text = answer.decode("utf-8", "replace")
        if any(word in text for word in _OUT_OF_MEMORY):
            raise self._no_memory()
        raise ApartError(text)

    def _no_memory(self) -> LimitReached:
        return limits.too_much_memory(self._what, "more than the limit", self._memory)


def array_bytes(value: Any) -> bytes:
    """An array in numpy's own format."""
    held = io.BytesIO()
    np.save(held, np.asarray(value), allow_pickle=False)
    return held.getvalue()


def send(stream: IO[bytes], content: bytes) -> None:
    """Write bytes with their length in front."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes], most: int = 1 << 62) -> bytes:
    """The bytes that `send` wrote. Raises EOFError for a broken pipe, and for more than `most` bytes."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > most:
        raise EOFError
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
