"""`pipeline prune` as one call: reads, prunes, fine-tunes if asked to, measures the difference, writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import targets
from pipeline.contract import contract_missing
from pipeline.shrink import require_training
from pipeline.shrink.checkpoint import CHECKPOINT, Run, check_free
from pipeline.shrink.data import Pictures
from pipeline.shrink.goals import USUAL, parse
from pipeline.shrink.prunable import save
from pipeline.shrink.prune import PruneOptions, prune
from pipeline.support.errors import PipelineError
from pipeline.support.files import check_absent
from pipeline.support.picture_files import picture_files
from pipeline.support.size import Size
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    from pipeline.network import Network
    from pipeline.sources import ReadOptions

Progress = Callable[[str], None]


@on_a_file
def prune_file(
    file: Path,
    *,
    goal: str,
    device: str = USUAL,
    target: str = targets.DEFAULT,
    method: str = "auto",
    criterion: str = "reconstruction",
    multiple: int = 0,
    refit: bool = True,
    images: Path | None = None,
    tune: str | None = None,
    output: Path | None = None,
    reading: ReadOptions | None = None,
    seed: int = 0,
    run: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = lambda message: None,
) -> dict[str, Any]:
    """Prune the network in a file and write the smaller one; returns the report as plain data.

    Fine-tuning (`tune`) saves a checkpoint in the folder `run`, by default OUTPUT.run. With `resume`, the network
    is pruned again, which removes the same channels, and fine-tuning continues from there; the result is
    bit-identical. Raises PipelineError: what reading, the goal and pruning raise, `file-exists`,
    `destination-not-writable`; where fine-tuning lacks pictures `conflicting-options`, value ranges
    `contract-missing`, a trainable graph `cannot-train-graph`; what `check_free` and `read_checkpoint` raise
    (pipeline.shrink.checkpoint).
    """
    from pipeline import sources
    from pipeline.shrink.tuning import duration
    from pipeline.support.files import existing_file

    if tune is None and (resume or run is not None):
        raise PipelineError(
            "conflicting-options",
            f"{'--resume' if resume else '--run'} applies to fine-tuning, which needs --tune",
            remedy="Add --tune TIME, or omit this option.",
        )
    if tune is not None and images is None:
        raise PipelineError(
            "conflicting-options", "--tune needs pictures to train on", remedy="Add --images FOLDER."
        )
    if tune is not None:
        require_training("fine-tuning")
        duration(tune, "--tune")
    parsed_goal = parse(goal, device, targets.get(target))
    options = PruneOptions(criterion, multiple, _existing(images), seed, target, refit, method)
    path = existing_file(file)
    network = sources.read_one(path, reading or sources.ReadOptions())
    ending = "onnx" if network.module is None or ":" in network.architecture else "pth"
    place = output or Path.cwd() / f"{path.stem}.pruned.{ending}"
    folder = run or Path(f"{place}.run")
    if tune is not None:
        check_free(place, [folder / CHECKPOINT], resume, force)
    else:
        check_absent(place, force)
    if tune is not None and network.contract is None:
        raise contract_missing(
            f"fine-tuning needs the network's value ranges, which this file ({network.format}) does not contain",
            path.name,
        )
    if tune is not None and network.module is None:
        from pipeline.shrink.tuning import check_trainable

        check_trainable(network)
    pictures = Pictures(picture_files([images])) if tune is not None and images is not None else None
    done = prune(network, parsed_goal, options, progress)
    report = done.report
    for key in ("before", "after", "limit"):
        report["goal"][f"told_{key}"] = parsed_goal.describe(report["goal"][key])
    if tune is not None:
        from pipeline.shrink.tuning import fine_tune, longer

        assert pictures is not None
        identity = {
            "network": network.digest,
            "goal": parsed_goal.text,
            "device": parsed_goal.device,
            "target": target,
            "method": method,
            "criterion": criterion,
            "multiple": multiple,
            "refit": refit,
        }
        length = duration(tune, "--tune")
        report["training"] = fine_tune(
            done.network, network, pictures, length, seed, progress, Run(folder, resume, identity)
        )
        report["notes"] += filter(None, [longer("the network", report["training"])])
    report["tuned"] = tune is not None
    report["apart"] = apart(network, done.network)
    save(done.network, place)
    report["output"] = str(place)
    return report


def _existing(images: Path | None) -> tuple[Path, ...]:
    if images is not None and not images.exists():
        raise PipelineError(
            "file-not-found", "no such file or folder exists", subject=str(images), remedy="Check the path."
        )
    return () if images is None else (images,)


def apart(original: Network, pruned: Network, picture: Path | None = None) -> dict[str, Any]:
    """The difference between the outputs of two networks for one picture, in levels of 255."""
    from pipeline.contract import ImageContract, ImageSide
    from pipeline.sources import reference
    from pipeline.verify import pictures
    from pipeline.verify.compare import difference
    from pipeline.verify.proof import around

    first, second = reference(original), reference(pruned)
    channels = original.contract.input.channels if original.contract else _channels(original)
    contract = original.contract or ImageContract(ImageSide("0..255", channels), ImageSide("0..255", channels))
    size = first.fixed_size or Size(352, 256)
    loaded = pictures.load(picture, *size.hw, channels)
    a, b = around(first, contract)(loaded), around(second, contract)(loaded)
    return difference(a.astype(np.float32), b.astype(np.float32), "picture").as_dict()


def _channels(network: Network) -> int:
    from pipeline.graph import from_model
    from pipeline.graph.shapes import spatial_axes

    assert network.model is not None
    shape = from_model(network.model).inputs[0].shape
    return int(shape[3 if spatial_axes(shape) == (1, 2) else 1])
