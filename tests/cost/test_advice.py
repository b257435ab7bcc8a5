"""Which target is recommended for a graph, and why."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.cost import advice as advising
from pipeline.cost.advice import CLASSES, advice
from pipeline.report.text import advice_sentence
from pipeline.support.size import Size
from tests.networks import style_checkpoint
from tests.targets.compute.networks import Net, made

BARRACUDA, COMPUTE = targets.get("barracuda-3.0"), targets.get("compute")


def test_every_family_has_a_row_and_the_fastest_is_recommended():
    reported = advice(made("style"), BARRACUDA, Size(640, 360))
    rows = {row["target"]: row for row in reported["rows"]}
    assert {targets.get(name).family_name for name in rows} == set(targets.families())
    assert all(list(row["predicted"]) == list(CLASSES) for row in rows.values())
    fastest = min(rows.values(), key=lambda row: np.prod(list(row["predicted"].values())))
    assert reported["recommended"] == fastest["target"] == "compute"
    line = advice_sentence(reported)
    assert line.startswith("Recommended: --target compute.") and "WebGL 2" in line and "\n" not in line
    assert all(f"{rows['compute']['predicted'][kind]:g} ms on a {kind}" in line for kind in CLASSES)


def test_what_was_built_for_stays_where_nothing_is_gained(monkeypatch):
    monkeypatch.setattr(advising, "_LITTLE", 1000.0)
    assert advice(made("style"), BARRACUDA)["recommended"] == "barracuda-3.0"


def test_a_target_that_refuses_the_graph_is_not_recommended():
    net = Net()
    x = net.op("Sin", net.conv(net.image, 3, 16, 3, pads=[1, 1, 1, 1]))
    reported = advice(net.graph(net.painted(net.conv(x, 16, 3, 3, pads=[1, 1, 1, 1]))), targets.get("inference-2"))
    row = next(row for row in reported["rows"] if row["target"] == "compute")
    assert "Sin" in row["refused"] and reported["recommended"] != "compute"
    assert any("compute refuses this network" in reason for reason in reported["reasons"])


@pytest.mark.parametrize("name", ["compute-half", "barracuda-2.0"])
def test_the_target_that_was_built_for_stands_for_its_family(name):
    assert name in [row["target"] for row in advice(made("grey"), targets.get(name))["rows"]]


def test_other_families_are_predicted_from_the_graph_before_it_was_arranged(tmp_path):
    """A build for Barracuda says of compute what a build for compute says of itself."""
    from pipeline import sources
    from pipeline.build import facts
    from pipeline.build.lowering import lower_network

    path = style_checkpoint(tmp_path / "net.pth", widths=(16, 32, 64))
    network = sources.read(path)
    lowered = {
        target.name: lower_network(network, target, Size(960, 540), bake_contract=True, metadata={}, device=None)
        for target in (BARRACUDA, COMPUTE)
    }
    assert lowered["barracuda-3.0"].arranged["done"]
    reported = {
        name: {row["target"]: row["predicted"] for row in facts.report(path, network, item)["advice"]["rows"]}
        for name, item in lowered.items()
    }
    assert reported["barracuda-3.0"]["compute"] == pytest.approx(reported["compute"]["compute"], rel=0.015)
    arranged = advice(lowered["barracuda-3.0"].graph, BARRACUDA)["rows"]
    other = next(row["predicted"] for row in arranged if row["target"] == "compute")
    assert other != pytest.approx(reported["compute"]["compute"], rel=0.015)


def test_one_graph_has_one_prediction_and_the_conversion_it_is_made_from_is_named():
    """Another target's lowering differs by a few nodes, so that its predictions differ: the basis explains it."""
    graph = made("style")
    reported = {target.name: advice(graph, target) for target in (BARRACUDA, COMPUTE, targets.get("inference-2"))}
    figures = [{row["target"]: row["predicted"] for row in item["rows"]} for item in reported.values()]
    assert figures[0] == figures[1] == figures[2]
    for name, item in reported.items():
        assert f"predicted from the network as converted for {name};" in advice_sentence(item)
