"""What a model file is, and what it costs: the facts behind `pipeline inspect`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import targets
from pipeline.build import cache, facts
from pipeline.support.errors import PipelineError
from pipeline.support.files import existing_file
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    from pipeline.sources import ReadOptions


@on_a_file
def inspect(
    source: str | Path, reading: ReadOptions | None = None, *, target: str = targets.DEFAULT
) -> dict[str, Any]:
    """Describe a model file and its cost once lowered for `target`, as plain data; nothing in it is run.

    `reading` says how it is read. Where the file fits several architectures, `architecture` in the answer says
    which.
    """
    from pipeline import sources
    from pipeline.compress.files import is_packed_file, read_packed

    path = existing_file(source)
    if is_packed_file(path):
        return read_packed(path)[1]
    about: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size}
    try:
        network = sources.read(path, replace(reading or sources.ReadOptions(), describe=True))
    except PipelineError as error:
        if error.code != "ambiguous-architecture":
            raise
        about |= {"digest": cache.file_digest(path), "architecture": f"{error.message}. {error.remedy}"}
        return about
    about |= {
        "format": network.format,
        "digest": network.digest,
        "architecture": network.architecture,
        "reason": network.reason,
        "weights": network.weights,
        "details": network.details,
        "contract": network.contract.as_dict() if network.contract else "not given by the file",
        "notes": list(network.notes),
    }
    if network.graph:
        about["graph"] = network.graph
    if network.module is not None or network.model is not None:
        about["cost"] = facts.cost(network, targets.get(target))
    return about
