from __future__ import annotations

from tests.rewrites.conftest import strictly_valid  # noqa: F401 - graphs are checked by onnx.checker here, too
