"""Einsum of two tensors as the transposes and the MatMul that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.graph import nodes as n
from pipeline.rewrites.base import Needed, Outcome, Rewrite

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pipeline.targets import Target


class Einsums(Rewrite):
    """A product of two tensors, such as the Gram matrix `ncp,ndp->ncd` and attention `bhqd,bhkd->bhqk`.

    Letters in both and in the result count the matrices, a letter in both and not in the result is summed over,
    and each side keeps one letter of its own: Transpose, Transpose, MatMul, Transpose. Refused: more tensors, sums
    of one side alone, repeated letters, dots, several summed letters or several letters of one side.
    """

    name = "einsum"
    summary = "an Einsum of two tensors becomes Transpose and MatMul"
    removes = ("unknown-operator",)

    def apply(self, graph: gs.Graph, target: Target, needed: Needed) -> Outcome:
        outcome: Outcome = []
        for node in n.nodes_of(graph, "Einsum"):
            if needed(node):
                outcome += self._rewrite(graph, node)
        return outcome

    def _rewrite(self, graph: gs.Graph, node: gs.Node) -> Outcome:
        axis_orders = matrix_product(n.text(node, "equation", ""))
        if axis_orders is None or len(node.inputs) != 2:
            return self.refuse(
                node,
                "einsum-no-product",
                "it is not one matrix product",
                "write it as MatMul, Transpose and Reshape in the network",
            )
        make = n.Builder(graph, node, self.name)
        left, right, result = axis_orders
        sides = [
            tensor if order == sorted(order) else make.op("Transpose", tensor, perm=order)
            for tensor, order in zip(node.inputs, (left, right), strict=True)
        ]
        if result == sorted(result):
            make.op("MatMul", *sides, out=node.outputs[0])
        else:
            make.op("Transpose", make.op("MatMul", *sides), perm=result, out=node.outputs[0])
        make.drop()
        return self.edit(node, "became Transpose and MatMul")


def matrix_product(equation: str) -> tuple[list[int], list[int], list[int]] | None:
    """The orders that the axes of both tensors and of their product are brought to: [batch..., row, sum],
    [batch..., sum, column], and from [batch..., row, column] to the result's own. None for what is not one matrix
    product."""
    words = equation.replace(" ", "")
    operands, arrow, result = words.partition("->")
    left, comma, right = operands.partition(",")
    letters = (left, right, result)
    if not (arrow and comma) or not all(term.isalpha() and len(set(term)) == len(term) for term in letters):
        return None
    batch = [letter for letter in result if letter in left and letter in right]
    summed = [letter for letter in left if letter in right and letter not in result]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]
    if [len(summed), len(rows), len(columns)] != [1, 1, 1] or set(result) != {*batch, *rows, *columns}:
        return None
    product = [*batch, *rows, *columns]
    return (
        [left.index(letter) for letter in (*batch, *rows, *summed)],
        [right.index(letter) for letter in (*batch, *summed, *columns)],
        [product.index(letter) for letter in result],
    )
