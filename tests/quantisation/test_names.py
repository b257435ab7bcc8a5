from __future__ import annotations

import pytest

from pipeline.quantisation.names import is_quantised
from tests.rewrites import model, node


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear", "QLinearAdd", "MatMulInteger"])
def test_an_operator_marks_a_network_as_quantised_in_whatever_domain(operator, domain):
    assert is_quantised(model([node(operator, "x x x", "y", domain=domain)]))


def test_other_operators_and_domains_do_not():
    assert not is_quantised(model([node("Relu", "x", "y"), node("QuantizeLinear", "x", "z", domain="own")]))
