"""pipeline.toml: what the options say, for several models.

    [build-unity]              # defaults for every model
    target = "barracuda-3.0"
    project = "MyGame"

    [[models]]
    source = "mosaic.pth"      # paths are relative to the file
    name = "Mosaic"

Every key of `[build-unity]` may stand in a model too, where it wins. Options on the command line win over both.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.support import identifiers as names
from pipeline.support.errors import PipelineError

OPTIONS = {
    "target": str,
    "size": str,
    "architecture": str,
    "input-range": str,
    "output-range": str,
    "channel-order": str,
    "tolerance": (int, float),
    "picture": str,
    "original": str,
    "skip": list,
    "check": bool,
    "weights": str,
    "min-psnr": (int, float),
    "calibrate": list,
    "optimize": str,
}
PLACES = {"output": str, "project": str}
MODEL = {"source": str, "name": str}
SECTIONS = ("build-unity", "models", "validate")


@dataclass(frozen=True)
class Job:
    """One model to build: the arguments of one `build_unity` call."""

    source: Path
    name: str | None = None
    output: Path | None = None
    project: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)


def load_jobs(
    path: Path, overrides: dict[str, Any], *, output: Path | None = None, project: Path | None = None
) -> list[Job]:
    """The jobs of a pipeline.toml. Raises PipelineError naming the key that is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(
            "nothing-to-build",
            "no SOURCE is given and there is no pipeline.toml here",
            remedy="Give a model file: pipeline build-unity mosaic.pth",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PipelineError("bad-config", f"this is not TOML ({error})", subject=str(path)) from error
    for section in data:
        if section not in SECTIONS:
            raise _wrong(path, section, f"is not one of {', '.join(SECTIONS)}")
    defaults = data.get("build-unity", {})
    models = data.get("models", [])
    if not isinstance(defaults, dict):
        raise _wrong(path, "build-unity", "must be a table")
    if not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        raise _wrong(path, "models", "must be an array of tables: [[models]]")
    if not models:
        raise _wrong(path, "models", "is missing: there is nothing to build")
    _check(path, "build-unity", defaults, OPTIONS | PLACES)
    jobs = []
    for number, model in enumerate(models, 1):
        _check(path, f"models[{number}]", model, OPTIONS | PLACES | MODEL)
        if "source" not in model:
            raise _wrong(path, f"models[{number}].source", "is missing")
        merged = defaults | model
        if "output" in model:
            merged.pop("project", None)
        if "project" in model:
            merged.pop("output", None)
        options = {key.replace("-", "_"): merged[key] for key in OPTIONS if key in merged} | overrides
        for key in ("picture", "original"):
            if key in merged and key not in overrides:
                options[key] = path.parent / merged[key]
        if "calibrate" in merged and "calibrate" not in overrides:
            options["calibrate"] = [path.parent / picture for picture in merged["calibrate"]]
        places = {key: path.parent / merged[key] for key in PLACES if key in merged}
        if output is not None or project is not None:
            places = {"output": output, "project": project}  # type: ignore[dict-item]
        jobs.append(
            Job(
                path.parent / model["source"],
                model.get("name"),
                places.get("output"),
                places.get("project"),
                options,
            )
        )
    return jobs


def check_jobs(jobs: list[Job]) -> None:
    """Raise PipelineError `duplicate-name` when two jobs would write the same bundle."""
    seen: dict[tuple[str, Path | None], Path] = {}
    for job in jobs:
        name = names.checked(job.name) if job.name else names.identifier(job.source.stem)
        where = job.output or job.project
        if (name, where) in seen:
            raise PipelineError(
                "duplicate-name",
                f"{seen[name, where]} and {job.source} would both become the bundle {name}",
                remedy="Give one of them another name (`name` in pipeline.toml, --name on the command line).",
            )
        seen[name, where] = job.source


def _check(path: Path, where: str, table: dict[str, Any], allowed: dict[str, Any]) -> None:
    import difflib

    for key, value in table.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            raise _wrong(path, f"{where}.{key}", "is not known" + (f"; did you mean {near[0]}?" if near else ""))
        wrong_bool = isinstance(value, bool) and allowed[key] is not bool
        wrong_list = isinstance(value, list) and not all(isinstance(word, str) for word in value)
        if not isinstance(value, allowed[key]) or wrong_bool or wrong_list:
            raise _wrong(path, f"{where}.{key}", "has the wrong type")


def _wrong(path: Path, key: str, why: str) -> PipelineError:
    return PipelineError(
        "bad-config", f"{key} {why}", subject=str(path), remedy="docs/configuration.md lists every key."
    )
