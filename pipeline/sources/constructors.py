"""Inert replacements for the few functions that the pickle of a state dict calls: they only build data.

They stand in for functions of torch/_utils.py, torch/_tensor.py and collections (torch 2.13). A function that is
not in `CONSTRUCTORS` is never called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.sources.pickled import (
    Global,
    Malformed,
    QuantisedRef,
    Record,
    SparseRef,
    Storage,
    TensorRef,
    Unsupported,
    shown,
)

_SCALARS = (
    str,
    int,
    float,
    bool,
    bytes,
    complex,
    type(None),
    Global,
    Record,
    Storage,
    TensorRef,
    QuantisedRef,
    SparseRef,
    Unsupported,
)
MAX_KEY = 64
"""Most items of a tuple that is a dict key: a tuple is hashed again at each use."""


def hashable(key: Any) -> Any:
    """The key itself. Raises Malformed for one whose hashing would walk a deep structure (and exhaust the C
    stack)."""
    if isinstance(key, _SCALARS):
        return key
    if isinstance(key, tuple) and len(key) <= MAX_KEY and all(isinstance(part, _SCALARS) for part in key):
        return key
    raise Malformed(f"a dict key in the pickle is a {type(key).__name__}")


def ordered_dict(items: Any = ()) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    result = {}
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Malformed("an OrderedDict in the pickle is not a list of pairs")
        result[hashable(pair[0])] = pair[1]
    return result


def _default_dict(factory: Any = None, items: Any = ()) -> dict[Any, Any]:
    return ordered_dict(items)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorRef:
    return TensorRef(storage, offset, shape, stride)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Unsupported:
    return Unsupported(f"of type {shown(dtype)}")


def _quantised(
    storage: Any, offset: Any, shape: Any, stride: Any, parameters: Any, *_: Any
) -> QuantisedRef | Unsupported:
    """torch/_tensor.py `_reduce_ex_internal`: (per_tensor_affine, scale, zero point) or
    (per_channel_affine, scales, zero points, axis)."""
    match parameters:
        case (Global(name="per_tensor_affine"), scale, zero_point):
            return QuantisedRef(_tensor(storage, offset, shape, stride), scale, zero_point)
        case (Global(name="per_channel_affine"), scales, zero_points, axis):
            return QuantisedRef(_tensor(storage, offset, shape, stride), scales, zero_points, axis)
    return Unsupported("quantised in an unsupported way")


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _from_type(function: Any, cls: Any, args: Any, state: Any = None) -> Any:
    constructor = CONSTRUCTORS.get(str(function)) if isinstance(function, Global) else None
    if constructor is None or not isinstance(args, tuple):
        return Unsupported(f"of the class {shown(cls)}")
    return constructor(*args)


def _sparse(layout: Any, parts: Any, *_: Any) -> SparseRef | Unsupported:
    """torch/_utils.py `_rebuild_sparse_tensor`: COO has (indices, values, size[, coalesced]), CSR (rows, columns,
    values, size[, ...])."""
    match layout, parts:
        case "torch.sparse_coo", (indices, values, shape, *_):
            return SparseRef("sparse_coo", (indices,), values, shape)
        case "torch.sparse_csr", (rows, columns, values, shape, *_):
            return SparseRef("sparse_csr", (rows, columns), values, shape)
    return Unsupported("sparse in an unsupported layout")


def _layout(name: Any = None) -> Any:
    """torch.serialization._get_layout: looks a name up in a table of torch's layouts."""
    if not isinstance(name, str):
        raise Malformed("a layout in the pickle has no name")
    return name


def _refuse(what: str) -> Callable[..., Unsupported]:
    return lambda *_: Unsupported(what)


def _sequence(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise Malformed("a set in the pickle is built from something that is not a list")
    return list(items)


def _size(items: Any = ()) -> tuple[Any, ...]:
    return tuple(_sequence(items))


def _encode(text: Any, encoding: Any = "") -> bytes:
    """Bytes as pickle protocols 0 to 2 write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise Malformed("bytes in the pickle are in an unknown encoding")
    return text.encode("latin-1")


CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,
    "collections.OrderedDict": ordered_dict,
    "collections.defaultdict": _default_dict,
    "builtins.set": _sequence,
    "__builtin__.set": _sequence,
    "builtins.frozenset": _sequence,
    "__builtin__.frozenset": _sequence,
    "builtins.list": _sequence,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch.serialization._get_layout": _layout,
    "torch._utils._rebuild_meta_tensor_no_storage": _refuse("meta (without values)"),
    "torch._utils._rebuild_nested_tensor": _refuse("nested"),
    "torch._utils._rebuild_device_tensor_from_numpy": _refuse("on a special device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _refuse("on a special device"),
}
