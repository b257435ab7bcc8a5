"""What a compute kernel in SPIR-V reads and writes, by the names of its HLSL (SPIR-V specification 1.3)."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

_HEADER_WORDS = 5
_OP_NAME, _OP_MEMBER_NAME, _OP_DECORATE, _OP_MEMBER_DECORATE = 5, 6, 71, 72
_OP_TYPE_INT, _OP_TYPE_FLOAT, _OP_TYPE_VECTOR, _OP_TYPE_MATRIX = 21, 22, 23, 24
_OP_TYPE_IMAGE, _OP_TYPE_SAMPLER, _OP_TYPE_STRUCT, _OP_TYPE_POINTER = 25, 26, 30, 32
_OP_VARIABLE = 59
_BUFFER_BLOCK, _NON_WRITABLE, _NON_READABLE, _BINDING, _OFFSET = 3, 24, 25, 33, 35
_IMAGE_FORMATS = {
    1: "rgba32float",
    2: "rgba16float",
    3: "r32float",
    4: "rgba8unorm",
    6: "rg32float",
    33: "r32uint",
}


class Member(NamedTuple):
    """A uniform in a constant buffer: its byte offset and NumPy type."""

    offset: int
    dtype: str


@dataclass(frozen=True)
class Resource:
    """What a kernel binds.

    kind: "uniform", "storage", "texture", "sampler" or "storage texture"; `members` and `size` (bytes) are those
    of a constant buffer, `format` and `access` those of a storage texture, in WebGPU's words.
    """

    kind: str
    binding: int
    read_only: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    size: int = 0
    format: str = ""
    access: str = ""


def _string(words: tuple[int, ...]) -> str:
    return struct.pack(f"<{len(words)}I", *words).split(b"\0", 1)[0].decode()


class _Module:
    """The instructions that describe a module, by the id that they are about."""

    def __init__(self, spirv: bytes) -> None:
        words = struct.unpack(f"<{len(spirv) // 4}I", spirv)
        self.names: dict[int, str] = {}
        self.member_names: dict[int, dict[int, str]] = defaultdict(dict)
        self.decorations: dict[int, dict[int, tuple[int, ...]]] = defaultdict(dict)
        self.member_decorations: dict[int, dict[int, dict[int, tuple[int, ...]]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.types: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.variables: dict[int, int] = {}
        at = _HEADER_WORDS
        while at < len(words):
            length, operation = words[at] >> 16, words[at] & 0xFFFF
            self._take(operation, words[at + 1 : at + length])
            at += length

    def _take(self, operation: int, operands: tuple[int, ...]) -> None:
        if operation == _OP_NAME:
            self.names[operands[0]] = _string(operands[1:])
        elif operation == _OP_MEMBER_NAME:
            self.member_names[operands[0]][operands[1]] = _string(operands[2:])
        elif operation == _OP_DECORATE:
            self.decorations[operands[0]][operands[1]] = operands[2:]
        elif operation == _OP_MEMBER_DECORATE:
            self.member_decorations[operands[0]][operands[1]][operands[2]] = operands[3:]
        elif _OP_TYPE_INT <= operation <= _OP_TYPE_POINTER:
            self.types[operands[0]] = operation, operands[1:]
        elif operation == _OP_VARIABLE:
            self.variables[operands[1]] = operands[0]

    def pointed(self, variable: int) -> int:
        return self.types[self.variables[variable]][1][1]

    def scalar(self, of: int) -> tuple[str, int]:
        """The NumPy type of a scalar, vector or matrix, and how many bytes it takes in a constant buffer."""
        operation, operands = self.types[of]
        if operation == _OP_TYPE_MATRIX:
            return self.scalar(operands[0])[0], 16 * operands[1]
        if operation == _OP_TYPE_VECTOR:
            return self.scalar(operands[0])[0], 4 * operands[1]
        if operation == _OP_TYPE_FLOAT:
            return "<f4", 4
        return ("<i4" if operands[1] else "<u4"), 4

    def constants(self, of: int) -> tuple[dict[str, Member], int]:
        members, size = {}, 0
        for i, kind in enumerate(self.types[of][1]):
            offset = self.member_decorations[of][i][_OFFSET][0]
            dtype, length = self.scalar(kind) if self.types[kind][0] <= _OP_TYPE_MATRIX else ("", 0)
            members[self.member_names[of][i]] = Member(offset, dtype)
            size = max(size, offset + length)
        return members, -(-size // 16) * 16


def _resource(module: _Module, of: int, binding: int, write_only: bool) -> Resource:
    operation, operands = module.types[of]
    if operation == _OP_TYPE_SAMPLER:
        return Resource("sampler", binding)
    if operation == _OP_TYPE_IMAGE:
        sampled, layout = operands[5], operands[6]
        if sampled == 1:
            return Resource("texture", binding)
        access = "write-only" if write_only else "read-write"
        return Resource("storage texture", binding, format=_IMAGE_FORMATS[layout], access=access)
    if _BUFFER_BLOCK in module.decorations[of]:
        return Resource("storage", binding, read_only=_NON_WRITABLE in module.member_decorations[of][0])
    members, size = module.constants(of)
    return Resource("uniform", binding, members=members, size=size)


def resources(spirv: bytes) -> dict[str, Resource]:
    """What a module binds, by name; "$Global" holds the uniforms that stand outside of any constant buffer."""
    module = _Module(spirv)
    found: dict[str, Resource] = {}
    for variable in module.variables:
        if _BINDING in module.decorations[variable]:
            kind = module.pointed(variable)
            name = module.names.get(variable) or module.names[kind]
            decorations = module.decorations[variable]
            found[name] = _resource(module, kind, decorations[_BINDING][0], _NON_READABLE in decorations)
    return found
