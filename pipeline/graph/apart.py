"""Runs a model in a separate process, under a memory limit and a time limit.

For networks from files whose cost cannot be estimated from their shapes, and for libraries that a hostile graph
can crash. Both sides exchange arrays in numpy's own format through pipes and unpickle nothing: a process that a
hostile file took over can send only arrays.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
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
from pipeline.support.untrusted import NO_MEMORY

_LENGTH = struct.Struct("<Q")
_BROKE_DOWN = (-signal.SIGSEGV, -signal.SIGFPE, -signal.SIGILL) if sys.platform != "win32" else (0xC0000005,)
"""Exit codes of a process in which a library crashed. (Out of memory ends in SIGABRT or SIGKILL.)"""


class ApartError(RuntimeError):
    """An exception that a library raised in the other process, as text."""


@dataclass(frozen=True)
class Declared:
    """An input or output as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str]


class Process:
    """Another Python process that runs `module` and answers requests, within limits of memory and time.

    `memory` is in bytes, `seconds` is the limit for one request. `what` says in errors what the process does.
    """

    def __init__(self, module: str, what: str, memory: int, seconds: float) -> None:
        self._what, self._memory, self._seconds = what, memory, seconds
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    @property
    def ended(self) -> bool:
        """Whether the other process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the other process."""
        process = self.__dict__.get("_process")
        if process is None:  # it could not be started
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def __del__(self) -> None:
        if sys is not None and not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self.close()

    def ask(self, question: bytes) -> bytes:
        """The answer to one request. Raises LimitReached, and ApartError for an exception in the other process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        clock = threading.Timer(self._seconds, end)
        clock.daemon = True
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
            if self._process.returncode in _BROKE_DOWN:
                raise ApartError(f"it crashed (signal {-self._process.returncode})") from None
            raise self._no_memory() from None
        except BaseException:
            self.close()
            raise
        finally:
            clock.cancel()
        if state == b"good":
            return answer
        text = answer.decode("utf-8", "replace")
        if any(word in text for word in NO_MEMORY):
            raise self._no_memory()
        raise ApartError(text)

    def _no_memory(self) -> LimitReached:
        return limits.too_much_memory(self._what, "more than the limit", self._memory)


class Apart(Process):
    """An ONNX Runtime session in another process; `why` names the node whose cost is not known in advance."""

    def __init__(self, model: bytes, what: str, why: str) -> None:
        task = f"running {what}" + (f" (the time that {why} takes is not known in advance)" if why else "")
        super().__init__("pipeline.graph.apart_process", task, limits.run_memory(), limits.run_seconds())
        description = json.loads(self.ask(model))
        self._inputs = [Declared(*fields) for fields in description["inputs"]]
        self._outputs = [Declared(*fields) for fields in description["outputs"]]

    def get_inputs(self) -> Sequence[Declared]:
        return self._inputs

    def get_outputs(self) -> Sequence[Declared]:
        return self._outputs

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names (None: all). Raises LimitReached, and ApartError as `ask` does."""
        chosen = [output.name for output in self._outputs] if names is None else list(names)
        question = io.BytesIO()
        send(question, json.dumps([chosen, list(inputs)]).encode())
        for value in inputs.values():
            send(question, array_bytes(value))
        answer = io.BytesIO(self.ask(question.getvalue()))
        return [np.load(io.BytesIO(receive(answer)), allow_pickle=False) for _ in chosen]


def array_bytes(value: Any) -> bytes:
    """An array in numpy's own format."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


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
