"""Which line of Python made a node, where torch wrote it into the file.

Two exporters of torch do: the dynamo exporter keeps a traceback in the node's metadata, outermost frame first; the
legacy exporter with `verbose=True`, and torch 0.4 always, a call stack in the node's `doc_string`
(`file(line): function`, innermost frame first). Both forms as torch 0.4 and 2.13 write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

STACK_TRACE = "pkg.torch.onnx.stack_trace"
_TRACEBACK_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in ([^\n]*)(?:\n {4,}([^\n]*))?')
_DOC_FRAME = re.compile(r"^([^\n]+)\((\d+)\): ([^\n]*)$", re.MULTILINE)
_LIBRARIES = (
    "/site-packages/",
    "/dist-packages/",
    "/lib/python3",
    "/torch/nn/",
    "/torch/jit/",
    "/torch/onnx/",
    "<",
)


@dataclass(frozen=True)
class PythonLine:
    """A place in the user's Python. `file` is as the exporter wrote it, `code` the line's text if known."""

    file: str
    line: int
    function: str = ""
    code: str = ""

    def __str__(self) -> str:
        """`net.py:12 in forward: x = self.up(x)`, without folders."""
        name = PureWindowsPath(self.file).name
        place = f"{name}:{self.line}" + (f" in {self.function}" if self.function else "")
        return f"{place}: {self.code}" if self.code else place

    def as_dict(self) -> dict[str, str | int]:
        return {"file": self.file, "line": self.line, "function": self.function, "code": self.code}

    def below(self, folder: Path) -> str | None:
        """The file's path relative to a folder, with `/`, where that folder holds it; else None.

        A file that was exported on another machine is recognised by the longest end of its path that exists in
        the folder and has that line (with that text, where it is known).
        """
        parts = (PureWindowsPath(self.file) if "\\" in self.file else PurePosixPath(self.file)).parts
        for first in range(len(parts)):
            tail = Path(*parts[first:])
            if tail.is_absolute() or ".." in parts[first:]:
                tail_below = tail.resolve()
                if not tail_below.is_relative_to(folder.resolve()):
                    continue
                tail = tail_below.relative_to(folder.resolve())
            if self._is(folder / tail):
                return tail.as_posix()
        return None

    def _is(self, path: Path) -> bool:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except (OSError, ValueError):
            return False
        if self.line > len(lines):
            return False
        return not self.code or lines[self.line - 1].strip() == self.code


def python_line(node: onnx.NodeProto) -> PythonLine | None:
    """The innermost frame that is the user's own; of a library where there is no other; None without a trace."""
    frames: list[PythonLine] = []
    for entry in node.metadata_props:
        if entry.key == STACK_TRACE and isinstance(entry.value, str):
            frames = [
                PythonLine(file, int(line), function.strip(), (code or "").strip())
                for file, line, function, code in _TRACEBACK_FRAME.findall(entry.value)
                if len(line) < 10
            ]
            frames.reverse()
    if not frames and isinstance(node.doc_string, str) and node.doc_string:
        frames = [
            PythonLine(file.strip(), int(line), function.strip())
            for file, line, function in _DOC_FRAME.findall(node.doc_string)
            if len(line) < 10
        ]
    own = [frame for frame in frames if not _of_library(frame.file)]
    return next(iter(own or frames), None)


def _of_library(file: str) -> bool:
    return any(part in file.replace("\\", "/") for part in _LIBRARIES)
