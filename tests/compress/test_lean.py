"""What a packed model does without, and what must stay."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from pipeline.compress.lean import make_lean
from pipeline.graph import valid
from pipeline.graph.runtime import run, session
from tests.compress.packs import initializers, network


def test_short_names_compute_the_same():
    before, lean = network(), network()
    was = make_lean(lean)
    assert list(was.values()) == list(initializers(before))
    assert all(len(name) <= 2 for name in was)
    for new, old in was.items():
        assert np.array_equal(initializers(lean)[new], initializers(before)[old])
    picture = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    assert np.array_equal(run(session(valid(lean)), picture), run(session(valid(before)), picture))
    assert not any(node.name for node in lean.graph.node)


def test_names_from_outside_stay_even_if_they_are_short():
    model = network()
    model.graph.input[0].name = "a"
    model.graph.node[0].input[0] = "a"
    make_lean(model)
    assert model.graph.input[0].name == model.graph.node[0].input[0] == "a"
    assert model.graph.output[0].name == model.graph.node[-1].output[0] == "painted"
    assert "a" not in initializers(model)


def test_metadata_of_others_stays_and_of_ours_what_is_compared_at_load():
    theirs, ours = network(), network()
    helper.set_model_props(theirs, {"architecture": "mine", "note": "x"})
    helper.set_model_props(ours, {"source_digest": "d", "image_contract": "{}", "tool": "t", "architecture": "a"})
    make_lean(theirs)
    make_lean(ours)
    assert {entry.key for entry in theirs.metadata_props} == {"architecture", "note"}
    assert {entry.key for entry in ours.metadata_props} == {"source_digest", "image_contract"}


def test_a_model_with_graphs_inside_is_left_alone():
    model = network()
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["sum"], ["z"], then_branch=inner, else_branch=inner))
    before = onnx.ModelProto.FromString(model.SerializeToString())
    assert make_lean(model) == {} and model == before
