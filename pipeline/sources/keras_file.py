"""Read one Keras .h5 file in a separate process: `python -m pipeline.sources.keras_file LIMIT PATH`.

HDF5 is a large C library. Damaged files can make it loop forever or access invalid memory, so it runs here under
limits of memory and processor time, and may not open a second file. The answer on stdout is one line of JSON (the
layers with the names of their tensors, or the refusal), then the tensors in NumPy's format.

Files: `model_weights/<layer>/...` with the layers in the order of the `layer_names` attribute (names sort as
conv2d_1, conv2d_10, ...), kernels as (kh, kw, in, out).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import IO, Any

import numpy as np

from pipeline.sources.pickled import shown
from pipeline.support import limits

SECONDS = 600
"""Limit of processor time; the calling process usually stops this one earlier."""
_FILTERS = {1, 2, 3, 6, 32000}
"""deflate, shuffle, fletcher32, scale-offset and LZF. All others are plugins, which HDF5 loads from disk."""


class Refused(Exception):
    """The file is refused: (error code, detail)."""


def main() -> int:
    limit, path = int(sys.argv[1]), sys.argv[2]
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import h5py

    preload()
    try:
        with open(path, "rb") as source:
            restrict(limit)
            try:
                file = h5py.File(source, "r")
            except OSError as error:
                text = str(error)
                if "truncated" in text or "eof" in text.lower():
                    raise Refused("truncated-file", "HDF5 ends too early") from None
                raise Refused("damaged-file", "HDF5 cannot open it") from None
            with file:
                answer(file, limit, sink)
    except Refused as refusal:
        code, detail = refusal.args
        sink.write(json.dumps({"code": code, "detail": detail}).encode() + b"\n")
    except MemoryError:
        sink.write(json.dumps({"code": "out-of-memory", "detail": ""}).encode() + b"\n")
    except Exception as error:  # whatever HDF5 raises means a damaged file
        text = " ".join(str(error).split())[:300] or type(error).__name__
        sink.write(json.dumps({"code": "damaged-file", "detail": text}).encode() + b"\n")
    sink.flush()
    return 0


def preload() -> None:
    """Read a small file in memory, so that Python and h5py load everything they need before files are
    forbidden."""
    import h5py

    with h5py.File(io.BytesIO(), "w") as file:
        group = file.create_group("model_weights/a")
        group.parent.attrs["layer_names"] = [b"a"]
        group.attrs["weight_names"] = [b"kernel:0"]
        group.create_dataset("kernel:0", data=np.zeros((4, 4), np.float16), chunks=(2, 2), compression="gzip")
        file.attrs["model_config"] = "{}"
        answer(file, 1 << 20, io.BytesIO())
    with contextlib.suppress(OSError):
        h5py.File(io.BytesIO(b"no file"), "r")


def restrict(limit: int) -> None:
    """Remove all rights that reading one open file does not need, where the system supports it."""
    try:
        import resource
    except ImportError:  # Windows: the calling process stops this one after its time limit
        return
    used = limits.address_space()
    maxima = (
        (resource.RLIMIT_AS, used + 2 * limit + (256 << 20) if used else resource.RLIM_INFINITY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in maxima:
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = hard if most == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, hard))


def answer(file: Any, limit: int, sink: IO[bytes]) -> None:
    """Write the layers of an open file to `sink`. Raises Refused, and whatever h5py raises."""
    import h5py

    group = inside(file, "model_weights") if "model_weights" in file else file
    names = group.attrs.get("layer_names") if isinstance(group, h5py.Group) else None
    if names is None:
        raise Refused(
            "not-a-keras-model", "this is an HDF5 file, but not one that Keras wrote (it has no layer_names)"
        )
    config = file.attrs.get("model_config")
    layers = [(text(name), datasets(inside(group, text(name)))) for name in names]
    total = sum(checked(name, dataset) for name, leaves in layers for dataset in leaves.values())
    if total > limit:
        raise Refused("over-budget", str(total))
    header = {
        "config": None if config is None else text(config),
        "layers": [(name, list(leaves)) for name, leaves in layers],
    }
    sink.write(json.dumps(header).encode() + b"\n")
    for _, leaves in layers:
        for dataset in leaves.values():
            buffer = io.BytesIO()  # numpy writes to a pipe in a way that needs a second descriptor
            np.save(buffer, np.asarray(dataset[()], dtype=np.float32), allow_pickle=False)
            sink.write(buffer.getvalue())


def checked(name: str, dataset: Any) -> int:
    """The bytes that a data set takes in memory, after checking that it has floating-point numbers in this
    file."""
    if dataset.is_virtual or dataset.external:
        raise Refused("damaged-file", f"layer {shown(name)} stores its numbers in another file")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.shape is None or dataset.ndim > 8:
        raise Refused("damaged-file", f"layer {shown(name)} does not contain floating point numbers")
    created = dataset.id.get_create_plist()
    filters = {created.get_filter(index)[0] for index in range(created.get_nfilters())}
    if unknown := filters - _FILTERS:
        raise Refused("damaged-file", f"layer {shown(name)} is compressed by the filter {min(unknown)}")
    return int(dataset.size) * max(dataset.dtype.itemsize, 4)


def datasets(group: Any) -> dict[str, Any]:
    """The data sets of a layer, by leaf name: kernel, gamma, beta, ..."""
    import h5py

    found = {}
    for name in map(text, group.attrs.get("weight_names", ())):
        dataset = inside(group, name)
        if not isinstance(dataset, h5py.Dataset):
            raise Refused("damaged-file", f"{shown(name)} is not a data set")
        found[name.rpartition("/")[2].partition(":")[0]] = dataset
    return found


def inside(group: Any, name: str) -> Any:
    """The object at a path inside the file. Raises Refused for a soft or external link anywhere on the path."""
    import h5py

    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise Refused("damaged-file", f"{shown(name)} is a link, or is missing")
        group = group[part]
    return group


def text(value: Any) -> str:
    """A name or text in the file, decoded. Raises Refused for another type."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise Refused("damaged-file", f"a name in it is {shown(value)}")
    return value


if __name__ == "__main__":
    sys.exit(main())
