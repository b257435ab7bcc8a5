"""The other process of `pipeline.graph.simplify`: simplifies the models that it is sent with onnxsim."""

from __future__ import annotations

import sys

import onnx

from pipeline.graph.apart_process import limit_memory, serve


def _simplified(question: bytes) -> bytes:
    """A model simplified, behind one byte that says whether onnxsim found that it computes the same."""
    import onnxsim

    simplified, equivalent = onnxsim.simplify(onnx.load_from_string(question))
    content: bytes = simplified.SerializeToString()
    return (b"1" if equivalent else b"0") + content


if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment] # onnxsim imports it where it is there, and has no use for it
    import onnxsim  # noqa: F401 - what it takes itself is not counted

    limit_memory(int(sys.argv[1]))
    serve(_simplified)
