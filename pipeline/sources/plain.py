"""Normalise a state dict: remove wrapper prefixes from names, bake hooks and parametrisations into weights.

Sources: torch/nn/utils/prune.py, weight_norm.py, spectral_norm.py, parametrizations.py (torch 2.13).
"""

from __future__ import annotations

import re

import numpy as np

from pipeline.sources.pickled import shown
from pipeline.support.errors import PipelineError

Tensors = dict[str, np.ndarray]

WRAPPERS = ("module", "_orig_mod", "model", "net", "network", "netG", "generator", "transformer", "state_dict")
"""Prefixes that training wrappers add to every name (DataParallel, torch.compile, Lightning, ...)."""


PRUNED, WEIGHT_NORM, SPECTRAL_NORM = "pruning masks", "weight_norm", "spectral_norm"


def names(tensors: Tensors, notes: list[str]) -> tuple[Tensors, str]:
    """The tensors without the wrapper prefixes that all names share, and the removed prefix; appends to
    `notes`."""
    removed: list[str] = []
    while tensors:
        firsts = {name.partition(".")[0] for name in tensors}
        first = next(iter(firsts))
        if len(firsts) != 1 or first not in WRAPPERS or not all("." in name for name in tensors):
            break
        removed.append(first)
        tensors = {name.partition(".")[2]: value for name, value in tensors.items()}
    if any("_orig_mod" in name.split(".") for name in tensors):
        removed.append("_orig_mod")
        tensors = {
            ".".join(part for part in name.split(".") if part != "_orig_mod"): value
            for name, value in tensors.items()
        }
    if removed:
        notes.append(f"prefix {'.'.join(removed)}. removed from all names")
    return tensors, ".".join(part for part in removed if part != "_orig_mod")


def weights(tensors: Tensors, notes: list[str], subject: str) -> Tensors:
    """The tensors with pruning masks, weight_norm and spectral_norm baked in, as in eval mode; appends to `notes`.

    Raises PipelineError `unsupported-parametrization` for any other parametrisation, `damaged-file` where the
    shapes of the parts do not match.
    """
    try:
        return _weights(tensors, notes, subject)
    except (ValueError, IndexError) as error:
        raise PipelineError(
            "damaged-file",
            f"the parts of a pruned or normalised weight do not match ({error})",
            subject=subject,
            remedy="Remove the hooks before saving (torch.nn.utils.prune.remove, remove_weight_norm).",
        ) from error


def _weights(tensors: Tensors, notes: list[str], subject: str) -> Tensors:
    baked: dict[str, tuple[str, np.ndarray]] = {}
    used: set[str] = set()
    counts = dict.fromkeys((PRUNED, WEIGHT_NORM, SPECTRAL_NORM), 0)
    zeros = total = 0
    for name in tensors:
        found = _parts(name, tensors, subject)
        if found is None:
            continue
        base, kind, parts = found
        values = [tensors[part].astype(np.float64) for part in parts]
        if kind == PRUNED:
            if values[0].shape != values[1].shape:
                raise ValueError(f"{parts[1]} has the shape {list(values[1].shape)}")
            weight = values[0] * values[1]
            zeros, total = zeros + int(np.sum(values[1] == 0)), total + values[1].size
        else:
            weight = _weight_norm(*values) if kind == WEIGHT_NORM else _spectral_norm(*values)
        baked[name] = base, weight.astype(np.float32)
        used.update(parts)
        counts[kind] += 1
    for kind, count in counts.items():
        if count:
            nothing = f" ({zeros:,} of {total:,} values are zero: that does not make it faster)"
            detail = nothing if kind == PRUNED else ""
            notes.append(f"{kind} baked into {count} tensors{detail}")
    result: Tensors = {}
    for name, value in tensors.items():
        if name in baked:
            base, weight = baked[name]
            result[base] = weight
        elif name not in used:
            result[name] = value
    return result


def _parts(name: str, tensors: Tensors, subject: str) -> tuple[str, str, tuple[str, ...]] | None:
    """(usual name, kind, names of the parts) if `name` is the first part of a parametrised weight, else None."""
    if match := re.fullmatch(r"(.*\.|)parametrizations\.([^.]+)\.original(0?)", name):
        inner = f"{match[1]}parametrizations.{match[2]}"
        parts = (name, f"{inner}.original1") if match[3] else (name, f"{inner}.0._u", f"{inner}.0._v")
        if {n for n in tensors if n.startswith(f"{inner}.")} != set(parts):
            raise _unsupported(inner, subject)
        return match[1] + match[2], WEIGHT_NORM if match[3] else SPECTRAL_NORM, parts
    if name.endswith("_orig"):
        base = name.removesuffix("_orig")
        if f"{base}_mask" in tensors:
            return base, PRUNED, (name, f"{base}_mask")
        if f"{base}_u" in tensors:
            return base, SPECTRAL_NORM, tuple(n for n in (name, f"{base}_u", f"{base}_v") if n in tensors)
    if name.endswith("_g"):
        base = name.removesuffix("_g")
        if f"{base}_v" in tensors and f"{base}_orig" not in tensors:
            return base, WEIGHT_NORM, (name, f"{base}_v")
    return None


def _unsupported(inner: str, subject: str) -> PipelineError:
    return PipelineError(
        "unsupported-parametrization",
        f"{inner} is neither weight_norm nor spectral_norm",
        subject=subject,
        remedy="Bake it before saving: torch.nn.utils.parametrize.remove_parametrizations(module, 'weight').",
    )


def _weight_norm(g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """w = g * v / |v|, the norm over all dimensions in which g has size 1 (torch._weight_norm)."""
    axes = tuple(axis for axis in range(v.ndim) if g.ndim != v.ndim or g.shape[axis] == 1)
    if g.ndim == v.ndim and any(g.shape[a] not in (1, v.shape[a]) for a in range(v.ndim)):
        raise ValueError(f"weight_g has the shape {list(g.shape)}")
    return np.asarray(g * (v / np.sqrt(np.sum(v * v, axis=axes, keepdims=True))))


def _spectral_norm(weight: np.ndarray, u: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
    """w / sigma with sigma = u . W v, without a power iteration, as in eval mode.

    The length of u shows which dimension of W became the matrix rows: 0, or 1 for transposed convolutions.
    """
    dim = 0 if u.size == weight.shape[0] else 1
    matrix = np.moveaxis(weight, dim, 0).reshape(weight.shape[dim], -1)
    if v is None:
        v = matrix.T @ u
        v = v / max(float(np.linalg.norm(v)), 1e-12)
    return np.asarray(weight / (u @ (matrix @ v)))


def check_finite(tensors: Tensors, subject: str) -> None:
    """Raise PipelineError `not-finite-weights` for the first tensor that contains NaN or infinity."""
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = int(np.sum(~np.isfinite(value)))
            raise PipelineError(
                "not-finite-weights",
                f"tensor {shown(name)} has {bad:,} values that are NaN or infinite (of {value.size:,})",
                subject=subject,
                remedy="The training has diverged: use an earlier checkpoint.",
            )
