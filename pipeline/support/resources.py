"""Find the data files of the package: in the repository, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """The path of `unity_templates`, `UnityProject`, `examples/picture.jpg` or `docs/errors.md`.

    They are next to the package in a checkout, and in `pipeline/_data` in a wheel (pyproject.toml, force-include).
    Raises FileNotFoundError.
    """
    for base in (_PACKAGE / "_data", _PACKAGE.parent):
        path = base / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the pipeline")
