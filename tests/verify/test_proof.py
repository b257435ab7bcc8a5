"""The proof notices what it has to notice."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pipeline import targets
from pipeline.contract import ImageContract, ImageSide
from pipeline.support.size import Size
from pipeline.verify.proof import around, as_target_computes, prove
from tests.networks import style_onnx

SIZES = (Size(32, 24), Size(12, 20))


@pytest.fixture
def model(tmp_path) -> onnx.ModelProto:
    return onnx.load(style_onnx(tmp_path / "net.onnx"))


@pytest.fixture(params=targets.names("barracuda"))
def target(request):
    return targets.get(request.param)


def nudged(model: onnx.ModelProto, name: str, by: float) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(by), name))
    return copy


def test_a_graph_passes_against_itself(model, target):
    same = as_target_computes(model, target)
    proof = prove(same, same, SIZES, channels=3)
    assert proof.passed and proof.worst.max_levels == 0
    assert [(d.name, d.height, d.width) for d in proof.differences] == [
        ("picture", 24, 32),
        ("noise", 24, 32),
        ("picture", 20, 12),
        ("noise", 20, 12),
    ]
    assert proof.golden_input.shape == (1, 3, 24, 32)
    assert np.array_equal(proof.golden_input * 255, np.rint(proof.golden_input * 255))


def test_a_bias_of_one_level_fails_and_the_bar_that_would_have_passed_is_told(model, target):
    source = as_target_computes(model, target)
    proof = prove(source, as_target_computes(nudged(model, "b2", 1 / 255), target), SIZES, channels=3)
    assert not proof.passed
    assert proof.worst.max_levels == pytest.approx(1.0, abs=0.01)
    assert proof.as_dict()["would_have_passed_at"] == pytest.approx(1.0, abs=0.01)


def test_what_the_target_computes_differently_is_seen(model, target):
    """ONNX Runtime takes linear Upsample as asymmetric, Barracuda as half-pixel (measured.md, finding 6)."""
    from pipeline.graph.runtime import free_size, run, session

    for node in model.graph.node:
        if node.op_type == "Upsample":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("mode", "linear"))
    barracuda = as_target_computes(model, target)
    plain = session(free_size(model))
    proof = prove(lambda picture: run(plain, picture), barracuda, SIZES, channels=3)
    assert not proof.passed


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_contract_is_applied_around_the_source(order):
    contract = ImageContract(ImageSide("-1..1", order=order), ImageSide("0..255", order=order))
    seen = []

    def source(x):
        seen.append(x)
        return np.full_like(x, 300.0) * np.array([1, 0.5, 0]).reshape(1, 3, 1, 1)

    picture = np.zeros((1, 3, 2, 2), np.float32)
    picture[:, 0] = 1
    output = around(source, contract)(picture)
    red = 0 if order == "rgb" else 2
    assert seen[0][0, red].tolist() == [[1, 1], [1, 1]] and seen[0][0, 1].tolist() == [[-1, -1], [-1, -1]]
    expected = [1.0, 150 / 255, 0.0]
    assert output[0, :, 0, 0].tolist() == pytest.approx(expected if order == "rgb" else expected[::-1])


def test_pictures_of_different_sizes_fail_the_proof_with_a_note(model, target):
    same = as_target_computes(model, target)
    proof = prove(same, lambda picture: same(picture)[:, :, :-1], (Size(32, 24),), channels=3)
    assert not proof.passed and proof.worst.max_levels == 255
    assert (
        "at 32x24 the output of the source is 32x24 with 3 channels, that of the built graph 32x23"
        in proof.notes[0]
    )
