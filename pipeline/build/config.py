"""Reads pipeline.toml: the options of builds, for several models.

    [build-unity]              # defaults for every model
    target = "barracuda-3.0"
    project = "MyGame"

    [[models]]
    source = "mosaic.pth"      # paths are relative to the file
    name = "Mosaic"

The keys are the options of a build (`pipeline.build.options`). A model may repeat any key of `[build-unity]` and
overrides it. Options on the command line override both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.build.options import KINDS, Option, all_options
from pipeline.support import identifiers as names
from pipeline.support.configuration import SECTIONS
from pipeline.support.errors import PipelineError
from pipeline.support.parsing import toml_file

_SOURCE = "source"


def keys(where: str) -> dict[str, Option]:
    """The options that a section accepts, by key; `where` is `build-unity` (for every model) or `models`."""
    allowed = ("both",) if where == "build-unity" else ("both", "model")
    return {option.key: option for option in all_options() if option.declaration.config in allowed}


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
        data = toml_file(path)
    except FileNotFoundError:
        raise PipelineError(
            "nothing-to-build",
            "no SOURCE is given, and there is no pipeline.toml in the current folder",
            remedy="Name a model file, such as pipeline build-unity mosaic.pth",
        ) from None
    except ValueError as error:
        raise PipelineError(
            "bad-config",
            f"this is not valid TOML ({error})",
            subject=str(path),
            remedy="Correct the line that is named; docs/configuration.md shows the form.",
        ) from error
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
        raise _wrong(path, "models", "is missing, so there is nothing to build")
    _check(path, "build-unity", defaults, keys("build-unity"))
    return [
        _job(path, f"models[{number}]", model, defaults, overrides, output, project)
        for number, model in enumerate(models, 1)
    ]


def _job(
    path: Path,
    where: str,
    model: dict[str, Any],
    defaults: dict[str, Any],
    overrides: dict[str, Any],
    output: Path | None,
    project: Path | None,
) -> Job:
    known = keys("models")
    _check(path, where, {key: value for key, value in model.items() if key != _SOURCE}, known)
    if _SOURCE not in model:
        raise _wrong(path, f"{where}.{_SOURCE}", "is missing")
    if not isinstance(model[_SOURCE], str):
        raise _wrong(path, f"{where}.{_SOURCE}", "has the wrong type")
    merged = defaults | model
    for place, other in (("output", "project"), ("project", "output")):
        if place in model:
            merged.pop(other, None)
    options = {option.name: _here(path, option, merged[key]) for key, option in known.items() if key in merged}
    places = {place: options.pop(place, None) for place in ("output", "project")}
    for place, chosen in places.items():
        if chosen is not None and output is None and project is None:
            _check_inside(path, f"{where}.{place}", chosen)
    if output is not None or project is not None:
        places = {"output": output, "project": project}
    return Job(path.parent / model[_SOURCE], options.pop("name", None), **places, options=options | overrides)


def _check_inside(path: Path, key: str, chosen: Path) -> None:
    """Refuse a destination outside the folder of the file (links are followed): the file may be untrusted."""
    folder = path.parent.resolve()
    if not chosen.resolve().is_relative_to(folder):
        raise PipelineError(
            "outside-of-folder",
            f"{key} is outside the folder that contains {path.name} ({chosen})",
            subject=str(path),
            remedy="Name a folder inside it, or use --output or --project on the command line.",
        )


def _here(path: Path, option: Option, value: Any) -> Any:
    """A value with its paths resolved relative to the folder of the file."""
    if not option.is_path:
        return value
    return [path.parent / item for item in value] if option.repeated else path.parent / value


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
                remedy="Choose another name for one of them (`name` in pipeline.toml, --name on the command "
                "line).",
            )
        seen[name, where] = job.source


def _check(path: Path, where: str, table: dict[str, Any], allowed: dict[str, Option]) -> None:
    import difflib

    for key, value in table.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, [*allowed, _SOURCE], 1)
            raise _wrong(path, f"{where}.{key}", "is not known" + (f"; did you mean {near[0]}?" if near else ""))
        option = allowed[key]
        values = value if option.repeated and isinstance(value, list) else [value]
        right = (isinstance(value, list) == option.repeated) and all(
            isinstance(item, KINDS[option.item].toml) and (not isinstance(item, bool) or option.item is bool)
            for item in values
        )
        if not right:
            raise _wrong(path, f"{where}.{key}", "has the wrong type")


def _wrong(path: Path, key: str, why: str) -> PipelineError:
    return PipelineError(
        "bad-config", f"{key} {why}", subject=str(path), remedy="docs/configuration.md lists every key."
    )
