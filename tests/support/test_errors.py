"""Every error code that the code can raise is explained in docs/errors.md, and no other."""

from __future__ import annotations

import ast
import re

from pipeline.support.errors import MissingDependency, PipelineError
from tests.conftest import REPOSITORY

CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


def raised_codes() -> set[str]:
    """First arguments of PipelineError and ProofFailed calls, and defaults of parameters named `code`."""
    codes = set()
    for path in (REPOSITORY / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in ("PipelineError", "ProofFailed"):
                    codes.add(node.args[0].value)
    return codes | {"missing-dependency"}


def documented_codes() -> set[str]:
    text = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {code for cell in cells for code in re.findall(r"`([a-z0-9-]+)`", cell)}


def test_every_code_is_documented_and_no_other():
    assert raised_codes() == documented_codes()
    assert all(CODE.match(code) for code in raised_codes())


def test_an_error_is_one_line():
    error = PipelineError("bad-size", "so\nbad.", subject="a.pth", remedy="Do\nthis.")
    assert str(error) == "[bad-size] a.pth: so bad. Do this."
    assert (error.exit_code, error.as_dict()["remedy"]) == (2, "Do\nthis.")
    assert (
        str(PipelineError("bad-size", "no; did you mean b?", remedy="Go.")) == "[bad-size] no; did you mean b? Go."
    )


def test_a_missing_package_says_what_to_install():
    assert "pip install 'unity-bridge-pipeline[keras]'" in str(MissingDependency("h5py", "keras", "this"))
    assert "pip install torch --index-url" in str(MissingDependency("torch", "torch", "this"))
