"""A reader of `.sentis` files from their schema alone (program.fbs, com.unity.sentis 2.1.3), on Google's library.

It shares no line with the pipeline: tables are described as the schema describes them, and what
`ModelLoader.cs@2.1.3` looks up in a file is looked up here in the same order.
"""

from __future__ import annotations

import struct

import numpy as np
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

_VALUES = ["Null", "Int", "Float", "Bool", "Byte", "Tensor", "String", "IntList", "FloatList", "BoolList"]
SCHEMA = {
    "Program": [
        ("version", "uint"),
        ("execution_plan", "ExecutionPlan"),
        ("segments_offset", "uint"),
        ("segments", ["DataSegment"]),
    ],
    "DataSegment": [("offset", "ulong"), ("size", "ulong")],
    "ExecutionPlan": [
        ("name", "string"),
        ("values", ["EValue"]),
        ("inputs", ["int"]),
        ("inputs_name", ["string"]),
        ("outputs", ["int"]),
        ("outputs_name", ["string"]),
        ("chains", ["Chain"]),
        ("operators", ["Operator"]),
        ("backend_partitioning", "BackendPartitioning"),
    ],
    "BackendPartitioning": [("chains", ["int"]), ("backend", "byte")],
    "Operator": [("name", "string")],
    "Chain": [("inputs", ["int"]), ("outputs", ["int"]), ("instructions", ["Instruction"])],
    "Instruction": [("instr_args", ("union", [None, "KernelCall"]))],
    "KernelCall": [("op_index", "int"), ("args", ["int"])],
    "EValue": [("val", ("union", [None, *_VALUES]))],
    "Null": [],
    "Int": [("value", "int")],
    "Float": [("value", "float")],
    "Bool": [("value", "bool")],
    "Byte": [("value", "ubyte")],
    "String": [("value", "string")],
    "IntList": [("items", ["int"])],
    "FloatList": [("items", ["float"])],
    "BoolList": [("items", ["bool"])],
    "Tensor": [
        ("scalar_type", "byte"),
        ("length_byte", "int"),
        ("fixed_sizes", ["int"]),
        ("constant_buffer_idx", "uint"),
        ("storage_offset", "int"),
        ("shape_dynamism", "byte"),
        ("dynamic_sizes", ["EDim"]),
    ],
    "EDim": [("val", ("union", [None, "Int", "Byte"]))],
    "Buffer": [("storage", ["ubyte"])],
}
FLAGS = {
    "uint": number_types.Uint32Flags,
    "ulong": number_types.Uint64Flags,
    "int": number_types.Int32Flags,
    "byte": number_types.Int8Flags,
    "ubyte": number_types.Uint8Flags,
    "float": number_types.Float32Flags,
    "bool": number_types.BoolFlags,
}


def root(data: bytes, name: str):
    """The table at the root of size-prefixed bytes, and how many bytes it takes with its size."""
    size = struct.unpack_from("<i", data)[0]
    stored = bytearray(data[: size + 4])
    position = encode.Get(packer.uoffset, stored, 4) + 4
    return read(Table(stored, position), name), size + 4


def read(table: Table, name: str):
    found, slot = {}, 4
    for field, kind in SCHEMA[name]:
        if isinstance(kind, tuple):
            tag = _number(table, slot, "ubyte", 0)
            slot += 2
            member = kind[1][tag]
            stored = table.Offset(slot)
            found[field] = None if member is None or not stored else (member, read(_union(table, stored), member))
        elif isinstance(kind, list):
            found[field] = _vector(table, slot, kind[0])
        elif kind in FLAGS:
            found[field] = _number(table, slot, kind, 0)
        else:
            stored = table.Offset(slot)
            if kind == "string":
                found[field] = table.String(table.Pos + stored).decode() if stored else ""
            else:
                found[field] = (
                    read(Table(table.Bytes, table.Indirect(table.Pos + stored)), kind) if stored else None
                )
        slot += 2
    return found


def _union(table: Table, held: int) -> Table:
    result = Table(bytearray(), 0)
    table.Union(result, held)
    return result


def _number(table: Table, slot: int, kind: str, default):
    stored = table.Offset(slot)
    return table.Get(FLAGS[kind], table.Pos + stored) if stored else default


def _vector(table: Table, slot: int, kind: str):
    stored = table.Offset(slot)
    if not stored:
        return None
    start, count = table.Vector(stored), table.VectorLen(stored)
    if kind == "ubyte":
        return bytes(table.Bytes[start : start + count])
    if kind in FLAGS:
        width = FLAGS[kind].bytewidth
        return [table.Get(FLAGS[kind], start + width * index) for index in range(count)]
    if kind == "string":
        return [table.String(start + 4 * index).decode() for index in range(count)]
    return [read(Table(table.Bytes, table.Indirect(start + 4 * index)), kind) for index in range(count)]


class File:
    """A file as the loader sees it: layers with what they read, and the constants' values."""

    def __init__(self, data: bytes) -> None:
        self.program, end = root(data, "Program")
        chunk, size = root(data[end:], "Buffer")
        assert end + size == len(data), "there is something behind the weights"
        self.plan, self.storage = self.program["execution_plan"], chunk["storage"]
        self.values = self.plan["values"]
        self.layers = [self._layer(chain) for chain in self.plan["chains"]]

    def tensor(self, index: int):
        kind, stored = self.values[index]["val"]
        assert kind == "Tensor"
        return stored

    def constant(self, index: int):
        """The values of a constant, None for what is computed; in C#, kinds are float, int, short, byte."""
        stored = self.tensor(index)
        if not stored["constant_buffer_idx"]:
            return None
        assert stored["length_byte"] % 4 == 0 and stored["storage_offset"] % 4 == 0
        assert stored["storage_offset"] + stored["length_byte"] <= len(self.storage)
        kind = (np.float32, np.int32, np.float16, np.uint8)[stored["scalar_type"]]
        count = int(np.prod(stored["fixed_sizes"]))
        assert count * np.dtype(kind).itemsize <= stored["length_byte"] < count * np.dtype(kind).itemsize + 4
        return np.frombuffer(self.storage, kind, count, stored["storage_offset"]).reshape(stored["fixed_sizes"])

    def _layer(self, chain):
        member, call = chain["instructions"][0]["instr_args"]
        assert member == "KernelCall" and len(chain["instructions"]) == 1
        arguments = [self.values[index]["val"] for index in call["args"]]
        plain = [None if item is None else item[1].get("value", item[1].get("items")) for item in arguments]
        return self.plan["operators"][call["op_index"]]["name"], chain["inputs"], chain["outputs"], plain
