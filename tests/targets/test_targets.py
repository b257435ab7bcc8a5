"""The target files: complete, cited, and what Barracuda registers."""

from __future__ import annotations

import itertools
import re

import pytest

from pipeline import targets
from pipeline.support.errors import PipelineError
from pipeline.targets.version import order

COUNTS = {"barracuda-1.0": 79, "barracuda-2.0": 104, "barracuda-3.0": 108}
"""Registered importers (measured.md section 4)."""
SOURCE = re.compile(
    r"\w[\w.]*\.(cs|cginc|compute|shader|md|json)(:\d+)?(@\d+\.\d+\.\d+)?"
    r"|ONNX specification|measured|operators\.json"
)


def test_names_are_in_order_of_version():
    assert targets.names("barracuda") == ("barracuda-1.0", "barracuda-2.0", "barracuda-3.0")
    assert targets.names("inference") == ("sentis-2.1", "inference-2")
    assert targets.names("inference", narrow=True) == (
        "sentis-2.1",
        "inference-2.2",
        "inference-2.3",
        "inference-2",
    )
    assert targets.DEFAULT in targets.names()


def test_an_unknown_name_is_an_error_that_lists_the_names():
    with pytest.raises(PipelineError) as caught:
        targets.get("barracuda-4.0")
    assert caught.value.code == "unknown-target"
    assert all(name in str(caught.value) for name in targets.names())


def test_a_target_is_read_once():
    assert targets.get("barracuda-3.0") is targets.get("barracuda-3.0")


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_the_operators_are_those_that_barracuda_registers(name, count):
    assert len(targets.get(name).operators) == count


def test_operators_only_grow_from_version_to_version():
    versions = [set(targets.get(name).operators) for name in targets.names("barracuda")]
    assert all(older <= newer for older, newer in itertools.pairwise(versions))
    first, second, third = versions[:3]
    assert first < second < third
    assert third - second == {"Erf", "HardSigmoid", "RoiAlign", "ScatterND"}
    assert {"Split", "Where", "TopK", "Tile", "Softplus", "ArgMax", "MirrorPad"} <= second - first


@pytest.mark.parametrize("name", targets.names("barracuda"))
def test_the_version_numbers_of_a_target_are_consistent(name):
    target = targets.get(name)
    assert target.name == name
    assert target.package == "com.unity.barracuda"
    assert target.package_version.startswith(name.removeprefix("barracuda-") + ".")
    assert target.family.name == "barracuda"
    assert target.opset == 9
    assert target.accepts("Conv") and not target.accepts("HardSwish")


@pytest.mark.parametrize("name", targets.names("barracuda"))
def test_every_row_cites_its_source(name):
    target = targets.get(name)
    for facts in target.operators.values():
        assert re.fullmatch(r"\w+\.cs:\d+@" + re.escape(target.package_version), facts.source), facts
    for rule in target.rules():
        assert SOURCE.search(rule.source), rule
    assert set(target.sources) >= {"unity", "opset", "max_rank", "dtypes", "constants", "semantics"}


@pytest.mark.parametrize("name", targets.names("barracuda"))
def test_every_rule_belongs_to_an_operator_or_the_graph(name):
    target = targets.get(name)
    rows = [rule for facts in target.operators.values() for rule in facts.rules]
    assert rows and target.graph_rules
    assert {rule.code for rule in (*rows, *target.graph_rules)} == {rule.code for rule in target.rules()}


def test_constants_are_folded_through_every_operator_only_on_1_0():
    assert targets.get("barracuda-1.0").constants is None
    for name in ("barracuda-2.0", "barracuda-3.0"):
        passing = targets.get(name).constants
        assert {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather"} < passing
        assert not passing & {"Identity", "Cast", "Mul", "Slice", "Concat"}


def test_every_capability_is_answered_with_a_source():
    for name in targets.names():
        target = targets.get(name)
        assert set(target.capabilities) <= set(targets.capabilities()), name
        assert all(SOURCE.search(capability.source) for capability in target.capabilities.values()), name
        assert set(targets.capabilities()) == set(target.capabilities) or target.family_name != "barracuda"


def test_a_capability_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="fly"):
        targets.get(targets.DEFAULT).can("fly")


def test_versions_are_ordered_as_packages_order_them():
    expected = [
        "1.0.0-exp.2",
        "1.0.0-pre.1",
        "1.0.0-pre.2",
        "1.0.0-pre.10",
        "1.0.0",
        "1.6.0-pre.1",
        "1.6.0",
        "1.10.0",
        "2.1.3",
    ]
    assert sorted(reversed(expected), key=order) == expected
    assert order("1.0.0+build.7") == order("1.0.0")
    for wrong in ("1.6", "1.6.x", "", "v1.0.0"):
        with pytest.raises(ValueError, match="not a version"):
            order(wrong)
