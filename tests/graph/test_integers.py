"""Integers that stand for numbers, against ONNX Runtime's DequantizeLinear, and finding them in a model."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pipeline.graph.integers import QuantizedTensor, dequantise, found_in
from tests.rewrites.cases import compute, model, random


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_dequantising_is_bit_for_bit_onnx_runtimes(kind: type, axis: int | None) -> None:
    rng = np.random.default_rng(3)
    info = np.iinfo(kind)
    ints = rng.integers(info.min, info.max, (4, 6), dtype=kind, endpoint=True)
    count = () if axis is None else (ints.shape[axis],)
    scale = (rng.random(count) * 0.1 + 1e-4).astype(np.float32)
    zero = np.zeros(count, kind) if kind is np.int32 else rng.integers(0, 100, count).astype(kind)
    node = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=0 if axis is None else axis)
    source = model([node], {"q": ints, "s": scale, "z": zero}, (1,), opset=21)
    source.ir_version = 10
    expected = compute(source, np.zeros(1, np.float32))
    stored = QuantizedTensor("w", ints, scale, zero, axis)
    assert np.array_equal(stored.real(), expected)
    assert stored.real().dtype == np.float32


def test_a_scale_per_block_is_repeated_along_its_axis() -> None:
    scale = np.array([[1.0], [10.0]], np.float32)
    real = dequantise(np.ones((3, 1), np.int8), scale, np.zeros((2, 1), np.int8), axis=0, block=2)
    assert real.reshape(-1).tolist() == [1, 1, 10]


def test_integers_are_found_in_a_model_by_their_float_values() -> None:
    ints = np.arange(-4, 4, dtype=np.int8).reshape(2, 4)
    stored = QuantizedTensor("layer.weight", ints, np.float32([0.1, 0.3]), np.int8([0, 1]), 0)
    gone = QuantizedTensor("gone", ints, np.float32(0.7), np.int8(0))
    source = model([], {"w_1": stored.real(), "b": random(2), "changed": gone.real() * np.float32(2)})
    (found,) = found_in(source, [stored, gone])
    assert found.name == "w_1"
    assert np.array_equal(found.real(), stored.real())
    assert found_in(source, []) == ()
