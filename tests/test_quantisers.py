"""Quantised networks are computed right, and nearer to the float original than as they were.

A sample of the rows of benchmarks/quantisers.py, which runs all of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import quantisers
from benchmarks.architectures import ARCHITECTURES
from benchmarks.exporters import expected
from pipeline import targets
from tests.conftest import REPOSITORY

SMALL = ("U-Net", "pix2pix", "super-resolution", "AdaIN")


def rows() -> list[tuple[str, str, str]]:
    """Every quantiser on one network, for one target: other ones each time."""
    names = quantisers.TARGETS
    return [
        (SMALL[number % len(SMALL)], quantiser, names[number % len(names)])
        for number, quantiser in enumerate(quantisers.QUANTISERS)
    ]


@pytest.mark.parametrize(("name", "quantiser", "target"), rows())
def test_a_network_from_any_quantiser_is_computed_right(name, quantiser, target):
    outcome = quantisers.judge(name, quantiser, target)
    if outcome is None:
        assert quantiser.startswith("PyTorch")
        return
    assert not outcome.problem
    assert outcome.lowered >= outcome.quantised - 0.5


@pytest.mark.parametrize("quantiser", ["PyTorch FX, opset 17", "PyTorch QAT, opset 13"])
def test_pytorchs_quantisers_take_a_u_net(quantiser):
    result = quantisers.quantised("U-Net", quantiser)
    assert result is not None
    kinds = {node.op_type for node in result.graph.node}
    assert kinds >= {"QuantizeLinear", "DequantizeLinear"}
    assert not quantisers.judge("U-Net", quantiser, targets.DEFAULT).problem


def test_a_wrong_network_is_told(monkeypatch):
    _, exact = expected("U-Net")[0]
    monkeypatch.setitem(quantisers.QUANTISERS, "wrong", lambda name: quantisers.legacy("pix2pix", 13))
    assert quantisers.judge("U-Net", "wrong", targets.DEFAULT).lowered < 30
    assert quantisers.decibels(exact + np.float32(0.1) * np.ptp(exact), exact) == pytest.approx(20, abs=0.01)


def test_the_page_has_a_cell_for_every_combination_and_none_that_went_wrong():
    text = (REPOSITORY / "docs" / "quantised.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| quantiser")]
    assert [line.split("|")[1].strip() for line in lines] == list(quantisers.QUANTISERS)
    cells = [cell.strip() for line in lines for cell in line.split("|")[2:-1]]
    assert len(cells) == len(lines) * len(ARCHITECTURES)
    reported = [tuple(map(float, cell.split(" -> "))) for cell in cells if cell != "-"]
    assert len(reported) > len(cells) / 2
    assert all(after >= before - 1 for before, after in reported)
