"""Makes a state dict plain: wrapper prefixes off the names, hooks and parametrisations baked into the weights.

Sources: torch/nn/utils/prune.py, weight_norm.py, spectral_norm.py, parametrizations.py (torch 2.13).
"""

from __future__ import annotations

import re

import numpy as np

from pipeline.errors import PipelineError

Tensors = dict[str, np.ndarray]

WRAPPERS = ("module", "_orig_mod", "model", "net", "network", "netG", "generator", "transformer", "state_dict")
"""Prefixes that training wrappers put before every name (DataParallel, torch.compile, Lightning, ...)."""


def names(tensors: Tensors, notes: list[str]) -> Tensors:
    """The tensors without the prefixes that all names share because of a wrapper; noted."""
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
    return tensors


def weights(tensors: Tensors, notes: list[str], subject: str) -> Tensors:
    """The tensors with pruning masks, weight_norm and spectral_norm multiplied out, as in eval mode; noted.

    Raises PipelineError `unsupported-parametrization` for any other parametrisation, `damaged-file` where the
    parts do not fit each other.
    """
    try:
        return _weights(tensors, notes, subject)
    except (ValueError, IndexError) as error:
        raise PipelineError(
            "damaged-file",
            f"the parts of a pruned or normalised weight do not fit each other ({error})",
            subject=subject,
            remedy="Remove the hooks before saving (torch.nn.utils.prune.remove, remove_weight_norm).",
        ) from error


def _weights(tensors: Tensors, notes: list[str], subject: str) -> Tensors:
    baked: dict[str, np.ndarray] = {}
    used: set[str] = set()
    counts = {"pruning masks": 0, "weight_norm": 0, "spectral_norm": 0}
    zeros = total = 0

    for name in tensors:
        base = parts = None
        kind = ""
        if match := re.fullmatch(r"(.*\.|)parametrizations\.([^.]+)\.original(0?)", name):
            stem, inner = match[1] + match[2], f"{match[1]}parametrizations.{match[2]}"
            base = stem
            if match[3]:
                parts = (name, f"{inner}.original1")
                kind = "weight_norm"
            else:
                parts = (name, f"{inner}.0._u", f"{inner}.0._v")
                kind = "spectral_norm"
            extra = {n for n in tensors if n.startswith(inner + ".")} - set(parts)
            if extra or any(part not in tensors for part in parts):
                raise _unsupported(inner, subject)
        elif name.endswith("_orig"):
            base = name.removesuffix("_orig")
            if f"{base}_mask" in tensors:
                kind, parts = "pruning masks", (name, f"{base}_mask")
            elif f"{base}_u" in tensors:
                kind = "spectral_norm"
                parts = tuple(n for n in (name, f"{base}_u", f"{base}_v") if n in tensors)
            else:
                continue
        elif name.endswith("_g") and f"{name[:-2]}_v" in tensors and f"{name[:-2]}_orig" not in tensors:
            base, kind, parts = name[:-2], "weight_norm", (name, f"{name[:-2]}_v")
        if not kind or base is None or parts is None:
            continue
        values = [tensors[part].astype(np.float64) for part in parts]
        match kind:
            case "pruning masks":
                if values[0].shape != values[1].shape:
                    raise ValueError(f"{parts[1]} has the shape {list(values[1].shape)}")
                result = values[0] * values[1]
                zeros, total = zeros + int(np.sum(values[1] == 0)), total + values[1].size
            case "weight_norm":
                result = _weight_norm(*values)
            case _:
                result = _spectral_norm(*values)
        baked[name] = result.astype(np.float32)
        used.update(parts)
        counts[kind] += 1

    for kind, count in counts.items():
        if count:
            detail = f" ({zeros:,} of {total:,} values are zero)" if kind == "pruning masks" else ""
            notes.append(f"{kind} baked into {count} tensors{detail}")
    result: Tensors = {}
    for name, value in tensors.items():
        if name in baked:
            result[_base(name)] = baked[name]
        elif name not in used:
            result[name] = value
    return result


def _base(name: str) -> str:
    if "parametrizations." in name:
        return re.sub(r"parametrizations\.([^.]+)\.original0?$", r"\1", name)
    return name.removesuffix("_orig") if name.endswith("_orig") else name[:-2]


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

    u's length tells along which dimension W was laid out as a matrix: 0, or 1 for transposed convolutions.
    """
    dim = 0 if u.size == weight.shape[0] else 1
    matrix = np.moveaxis(weight, dim, 0).reshape(weight.shape[dim], -1)
    if v is None:
        v = matrix.T @ u
        v = v / max(float(np.linalg.norm(v)), 1e-12)
    return np.asarray(weight / (u @ (matrix @ v)))


def check_finite(tensors: Tensors, subject: str) -> None:
    """Raise `not-finite-weights` naming the first tensor that holds NaN or infinity."""
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = int(np.sum(~np.isfinite(value)))
            raise PipelineError(
                "not-finite-weights",
                f"tensor {name!r} holds {bad:,} values that are NaN or infinite (of {value.size:,})",
                subject=subject,
                remedy="The training diverged: use an earlier checkpoint.",
            )
