"""A pickle machine that builds data and never runs anything.

Python's own unpickler calls what the file tells it to call. This one has no way to: globals become inert
`Global` names, objects become inert `Record`s, and the dozen constructors that a state dict needs
(`OrderedDict`, torch's `_rebuild_tensor_v2`, ...) are answered by functions of this file. A call of anything
that could run code (`os.system`, `builtins.eval`, ...) is refused with code `unsafe-pickle`: the file would
attack whoever opens it with torch.load.

The opcodes are those of pickletools, protocols 0 to 5. Formats: torch/serialization.py, torch/_utils.py.
"""

from __future__ import annotations

import pickletools
import re
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from pipeline.sources.pickled import Global, QuantisedRef, Record, Storage, TensorRef, Unsupported
from pipeline.support.errors import PipelineError

MAX_WORK = 5_000_000
"""Opcodes and copied items of one pickle: far above any checkpoint (a ResNet-50 state dict has about 10,000)."""


_STORAGE = re.compile(r"torch\.(\w+Storage|storage\.\w+Storage|device|serialization\._get_layout)")


class _Mark:
    pass


_MARK = _Mark()


class Malformed(ValueError):
    """The pickle is damaged."""


def load(
    stream: BinaryIO,
    persistent: Callable[[Any], Any],
    subject: str,
    nested: Callable[[bytes], Any] | None = None,
    tensors_only: bool = False,
) -> Any:
    """The object that the pickle at the stream's position describes; the stream is left behind its end.

    `persistent` answers persistent ids (torch's storages), `nested` what torch.storage._load_from_bytes gives.
    `tensors_only` refuses every global but those that tensors need: for a pickle that torch will open next.
    Raises PipelineError `unsafe-pickle`, and Malformed (or another ValueError) for a damaged pickle.
    """
    return _Machine(stream, persistent, subject, nested, tensors_only).run()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BENIGN_STDLIB = _words(
    "_codecs argparse array collections copyreg dataclasses datetime decimal enum fractions numbers pathlib "
    "random types typing uuid zoneinfo"
)
"""Standard-library modules whose objects turn up in honest checkpoints; they stay inert records."""
BENIGN_BUILTINS = _words(
    "set frozenset list tuple dict bytearray bytes int float bool str complex slice range object "
    "NoneType type ellipsis"
)
HONEST_TORCH = frozenset(("device", "dtype", "scalar", "ndarray", "_reconstruct", "_frombuffer"))
BUILTIN_MODULES = ("builtins", "__builtin__")


def runs_code(cls: Global) -> bool:
    """Whether calling this global could do something: any function of the standard library, torch or numpy
    that is not known to build plain data. Classes of the user's own modules stay inert records."""
    top = cls.module.partition(".")[0]
    last = cls.name.rpartition(".")[2]
    if top in BUILTIN_MODULES:
        return cls.name not in BENIGN_BUILTINS and not last.endswith(("Error", "Exception"))
    if top in BENIGN_STDLIB:
        return "." in cls.name
    if top in ("torch", "numpy"):
        return not (last[:1].isupper() or last.startswith("_rebuild") or last in HONEST_TORCH)
    python2 = ("commands", "popen2", "cPickle", "urllib2", "thread", "posix", "nt")
    return top in sys.stdlib_module_names or top in python2 or top in ("pip", "setuptools", "webbrowser")


class _Machine:
    def __init__(
        self,
        stream: BinaryIO,
        persistent: Callable[[Any], Any],
        subject: str,
        nested: Callable[[bytes], Any] | None,
        tensors_only: bool,
    ) -> None:
        self.tensors_only = tensors_only
        self.stream = stream
        self.persistent = persistent
        self.subject = subject
        self.nested = nested
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.work = 0

    def run(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self.stream):
            self.charge(1)
            if opcode.name == "STOP":
                return self.pop()
            handler = _OPCODES.get(opcode.name)
            if handler is None:
                raise Malformed(f"the pickle uses the opcode {opcode.name}, which no checkpoint needs")
            handler(self, argument)
        raise Malformed("the pickle has no end")

    def charge(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise Malformed("the pickle is absurdly long")

    def pop(self) -> Any:
        if not self.stack:
            raise Malformed("the pickle takes more than it has")
        value = self.stack.pop()
        if value is _MARK:
            raise Malformed("the pickle takes a mark for a value")
        return value

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Malformed("the pickle takes more than it has")
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise Malformed("the pickle has a mark missing")

    def pop_tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def push_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a global in the pickle has no name")
        name_of = f"{module}.{name}"
        if self.tensors_only and name_of not in CONSTRUCTORS and not _STORAGE.fullmatch(name_of):
            raise self.unsafe(f"imports {name_of[:100]}")
        self.stack.append(Global(module, name))

    def call(self, cls: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise Malformed("a call in the pickle has no arguments")
        if not isinstance(cls, Global):
            raise self.unsafe(f"calls a {type(cls).__name__}")
        self.charge(sum(len(a) for a in args if isinstance(a, (dict, list, tuple))))
        if str(cls) == "torch.storage._load_from_bytes" and self.nested and len(args) == 1:
            return self.nested(args[0])
        constructor = CONSTRUCTORS.get(str(cls))
        if constructor is not None:
            return constructor(*args)
        if runs_code(cls):
            raise self.unsafe(f"calls {cls}")
        if str(cls) in ("copyreg._reconstructor", "copy_reg._reconstructor") and args:
            return Record(args[0] if isinstance(args[0], Global) else cls, args)
        return Record(cls, args)

    def unsafe(self, what: str) -> PipelineError:
        return PipelineError(
            "unsafe-pickle",
            f"the pickle {what} when it is opened: it runs code on your machine instead of holding a network",
            subject=self.subject,
            remedy="Nothing was executed. Do not open it with torch.load; get the weights from a source that "
            "you trust, as a state dict or .safetensors.",
        )

    def instance(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise Malformed("an object in the pickle has no class")
        return self.call(cls, args)

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Record):
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
            for part in parts:
                if isinstance(part, dict):
                    self.charge(len(part))
                    target.state.update(part)
            if isinstance(state, tuple) and len(state) > 2:
                target.packed = state
        # Attributes of an OrderedDict (`_metadata`) or of a tensor say nothing about the numbers.

    def set_items(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise Malformed("a key in the pickle has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(target, dict):
                target[hashable(key)] = value
            elif isinstance(target, Record):
                target.state[hashable(key)] = value
            else:
                raise Malformed("items are set on something that is no dict")

    def extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Record):
            target.items.extend(items)
        else:
            raise Malformed("values are appended to something that is no list")

    def recall(self, key: Any) -> None:
        if key not in self.memo:
            raise Malformed("the pickle recalls what it never remembered")
        self.stack.append(self.memo[key])


_SCALARS = (str, int, float, bool, bytes, complex, type(None), Global, Record, Storage, TensorRef, QuantisedRef)


def hashable(key: Any) -> Any:
    """The key, if it can be hashed without walking a deep structure (which can exhaust the C stack)."""
    if isinstance(key, _SCALARS):
        return key
    if isinstance(key, tuple) and all(isinstance(part, _SCALARS) for part in key):
        return key
    raise Malformed(f"a dict key in the pickle is a {type(key).__name__}")


# --- what may be called, answered by ourselves ----------------------------------------------------------------


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    result = {}
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Malformed("an OrderedDict in the pickle is no list of pairs")
        result[hashable(pair[0])] = pair[1]
    return result


def _default_dict(factory: Any = None, items: Any = ()) -> dict[Any, Any]:
    return _ordered_dict(items)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorRef:
    return TensorRef(storage, offset, shape, stride)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Unsupported:
    return Unsupported(f"of type {dtype}")


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
    return Unsupported("quantised in a way that is not read here")


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _from_type(function: Any, cls: Any, args: Any, state: Any = None) -> Any:
    constructor = CONSTRUCTORS.get(str(function))
    if constructor is None or not isinstance(args, tuple):
        return Unsupported(f"tensor subclass {cls}")
    return constructor(*args)


def _refuse(what: str) -> Callable[..., Unsupported]:
    return lambda *_: Unsupported(what)


def _sequence(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise Malformed("a set in the pickle is built from something that is no list")
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
    "collections.OrderedDict": _ordered_dict,
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
    "torch._utils._rebuild_sparse_tensor": _refuse("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _refuse("sparse"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refuse("meta (it holds no values)"),
    "torch._utils._rebuild_nested_tensor": _refuse("nested"),
    "torch._utils._rebuild_device_tensor_from_numpy": _refuse("on a special device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _refuse("on a special device"),
}


# --- opcodes --------------------------------------------------------------------------------------------------


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _global(machine: _Machine, argument: str) -> None:
    machine.push_global(*argument.split(" ", 1))


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push_global(module, name)


def _reduce(machine: _Machine, _: Any) -> None:
    args, cls = machine.pop(), machine.pop()
    machine.stack.append(machine.call(cls, args))


def _newobj(machine: _Machine, _: Any) -> None:
    args, cls = machine.pop(), machine.pop()
    machine.stack.append(machine.instance(cls, args))


def _newobj_ex(machine: _Machine, _: Any) -> None:
    machine.pop()
    _newobj(machine, None)


def _inst(machine: _Machine, argument: str) -> None:
    args = tuple(machine.pop_mark())
    machine.stack.append(machine.instance(Global(*argument.split(" ", 1)), args))


def _obj(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(machine.instance(items[0] if items else None, tuple(items[1:])))


def _memoize(machine: _Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.top()


def _put(machine: _Machine, key: int) -> None:
    machine.memo[key] = machine.top()


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items(machine.top(), [key, value])


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    machine.extend(machine.top(), [value])


def _extend(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.extend(machine.top(), items)


def _pop_mark(machine: _Machine, _: Any) -> None:
    machine.pop_mark()


def _pop(machine: _Machine, _: Any) -> None:
    if not machine.stack:
        raise Malformed("the pickle takes more than it has")
    machine.stack.pop()


_VALUES = _words(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES "
    "BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT"
)
"""Opcodes that push their own argument."""

_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, a: None),
    **dict.fromkeys(_VALUES, _push),
    "NONE": lambda m, a: m.stack.append(None),
    "NEWTRUE": lambda m, a: m.stack.append(True),
    "NEWFALSE": lambda m, a: m.stack.append(False),
    "EMPTY_LIST": lambda m, a: m.stack.append([]),
    "EMPTY_SET": lambda m, a: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, a: m.stack.append(()),
    "EMPTY_DICT": lambda m, a: m.stack.append({}),
    "LIST": lambda m, a: m.stack.append(m.pop_mark()),
    "FROZENSET": lambda m, a: m.stack.append(m.pop_mark()),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, a: m.pop_tuple(1),
    "TUPLE2": lambda m, a: m.pop_tuple(2),
    "TUPLE3": lambda m, a: m.pop_tuple(3),
    "DICT": lambda m, a: m.stack.append(_ordered_dict(list(zip(*[iter(m.pop_mark())] * 2, strict=True)))),
    "MARK": lambda m, a: m.stack.append(_MARK),
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda m, a: m.stack.append(m.top()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, a: m.recall(a)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": lambda m, a: m.build(),
    "SETITEM": _set_item,
    "SETITEMS": lambda m, a: (lambda items: m.set_items(m.top(), items))(m.pop_mark()),
    "APPEND": _append,
    "APPENDS": _extend,
    "ADDITEMS": _extend,
    "BINPERSID": lambda m, a: m.stack.append(m.persistent(m.pop())),
}
