"""An unpickler that builds data and never runs code.

Python's own unpickler calls what the file names. This one cannot: globals become inert `Global` names, objects
become inert `Record`s, and the few constructors that a state dict needs (`OrderedDict`, torch's
`_rebuild_tensor_v2`, ...) are implemented in constructors.py. A call of anything that could run code (`os.system`,
`builtins.eval`, ...) is refused with code `unsafe-pickle`, because the file would attack whoever opens it with
torch.load.

The opcodes are those of pickletools, protocols 0 to 5. Formats: torch/serialization.py, torch/_utils.py. The time
is linear in the length of the pickle: every opcode takes constant time, or time for the bytes that it consumes.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Any

from pipeline.sources.constructors import CONSTRUCTORS, hashable, ordered_dict
from pipeline.sources.pickle_globals import runs_code
from pipeline.sources.pickled import Global, Malformed, Record, shown
from pipeline.support.errors import PipelineError

__all__ = ["Malformed", "load", "tensors_only"]

MAX_WORK = 5_000_000
"""Most opcodes and copied items of one pickle: far more than any checkpoint has (ResNet-50: about 10,000)."""
MAX_NAME = 400
"""Most characters of a module's or class's name."""
MAX_DIGITS = 1000
"""Most bytes or digits of one number: longer ones take time to read, hash and print."""
NESTED_WORK = 100
"""Cost of opening an embedded storage, in opcodes."""

_STORAGE = re.compile(r"torch\.(\w+Storage|storage\.\w+Storage|device|serialization\._get_layout)")


def load(
    data: bytes | mmap,
    persistent: Callable[[Any], Any],
    subject: str,
    nested: Callable[[bytes], Any] | None = None,
    *,
    start: int = 0,
    allowed: Callable[[str], bool] | None = None,
    constructors: Mapping[str, Callable[..., Any]] = CONSTRUCTORS,
) -> tuple[Any, int]:
    """The object that the pickle at byte `start` describes, and the byte position after the pickle.

    `persistent` resolves persistent ids (torch's storages), `nested` the bytes of torch.storage._load_from_bytes.
    Globals for which `allowed` returns False are refused: for a pickle that torch will open next. Raises
    PipelineError `unsafe-pickle`, and Malformed (or another ValueError) for a damaged pickle.
    """
    machine = _Machine(data, start, persistent, subject, nested, allowed, constructors)
    return machine.run(), machine.at


def tensors_only(name: str) -> bool:
    """Whether a pickle that contains only tensors may name this global."""
    return name in CONSTRUCTORS or _STORAGE.fullmatch(name) is not None


class _Machine:
    def __init__(
        self,
        data: bytes | mmap,
        start: int,
        persistent: Callable[[Any], Any],
        subject: str,
        nested: Callable[[bytes], Any] | None,
        allowed: Callable[[str], bool] | None,
        constructors: Mapping[str, Callable[..., Any]],
    ) -> None:
        self.data, self.at, self.end = data, start, len(data)
        self.persistent = persistent
        self.subject = subject
        self.nested = nested
        self.allowed = allowed
        self.constructors = constructors
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.work = 0

    def run(self) -> Any:
        data, handlers = self.data, _HANDLERS
        while self.at < self.end:
            code = data[self.at]
            self.at += 1
            self.work += 1
            if code == _STOP:
                return self.pop()
            handler = handlers[code]
            if handler is None:
                raise Malformed(f"the pickle uses the opcode {code:#04x}, which no checkpoint needs")
            handler(self)
            if self.work > MAX_WORK:
                raise Malformed("the pickle is absurdly long")
        raise EOFError("its pickle is not terminated")

    # --- reading

    def take(self, length: int) -> bytes:
        start = self.at
        self.at = start + length
        if self.at > self.end:
            raise EOFError("its pickle ends too early")
        return self.data[start : self.at]

    def line(self, limit: int) -> bytes:
        stop = self.data.find(b"\n", self.at, min(self.at + limit + 1, self.end))
        if stop < 0:
            raise Malformed("a line in the pickle is not terminated")
        text = self.data[self.at : stop]
        self.at = stop + 1
        return text

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    # --- the stack

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Malformed("the pickle's stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Malformed("the pickle's stack is empty")
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise Malformed("the pickle has a mark missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_tuple(self, length: int) -> None:
        values = [self.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(values)))

    # --- names and calls

    def push_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a global in the pickle has no name")
        if len(module) > MAX_NAME or len(name) > MAX_NAME:
            raise Malformed("a global in the pickle has a name that is too long")
        if self.allowed is not None and not self.allowed(f"{module}.{name}"):
            raise self.unsafe(f"imports {f'{module}.{name}'[:100]}")
        self.stack.append(Global(module, name))

    def call(self, cls: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise Malformed("a call in the pickle has no arguments")
        if not isinstance(cls, Global):
            raise self.unsafe(f"calls a {type(cls).__name__}")
        for argument in args:
            if isinstance(argument, (dict, list, tuple)):
                self.work += len(argument)
            elif isinstance(argument, (str, bytes)):
                self.work += len(argument) >> 6
        name = str(cls)
        if name == "torch.storage._load_from_bytes" and self.nested and len(args) == 1:
            self.work += NESTED_WORK
            return self.nested(args[0])
        constructor = self.constructors.get(name)
        if constructor is not None:
            return constructor(*args)
        if runs_code(cls):
            raise self.unsafe(f"calls {shown(cls)}")
        if name in ("copyreg._reconstructor", "copy_reg._reconstructor") and args:
            return Record(args[0] if isinstance(args[0], Global) else cls, args)
        return Record(cls, args)

    def unsafe(self, what: str) -> PipelineError:
        return PipelineError(
            "unsafe-pickle",
            f"the pickle {what} when it is opened, so it would run code on your machine",
            subject=self.subject,
            remedy="Nothing was executed. Do not open it with torch.load; get the weights from a source that "
            "you trust, as a state dict or .safetensors.",
        )

    def instance(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise Malformed("an object in the pickle has no class")
        return self.call(cls, args)

    # --- filling

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Record):
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
            for part in parts:
                if isinstance(part, dict):
                    self.work += len(part)
                    target.state.update(part)
            if isinstance(state, tuple) and len(state) > 2:
                target.packed = state
        # Attributes of an OrderedDict (`_metadata`) or of a tensor say nothing about the numbers.

    def set_items(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise Malformed("a key in the pickle has no value")
        if isinstance(target, Record):
            target = target.state
        if not isinstance(target, dict):
            raise Malformed("items are set on something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key)] = value

    def extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Record):
            target = target.items
        if not isinstance(target, list):
            raise Malformed("values are appended to something that is not a list")
        target.extend(items)

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise Malformed("the pickle reads a memo entry that was never written")
        self.stack.append(self.memo[key])


# --- opcodes --------------------------------------------------------------------------------------------------

_STOP = ord(".")
_Handler = Callable[[_Machine], None]
_HANDLERS: list[_Handler | None] = [None] * 256


def _on(*codes: bytes) -> Callable[[_Handler], _Handler]:
    def keep(handler: _Handler) -> _Handler:
        for code in codes:
            _HANDLERS[code[0]] = handler
        return handler

    return keep


def _constant(code: bytes, make: Callable[[], Any]) -> None:
    _HANDLERS[code[0]] = lambda m: m.stack.append(make())


def _unsigned(code: bytes, length: int) -> None:
    _HANDLERS[code[0]] = lambda m: m.stack.append(m.number(length))


def _counted(code: bytes, length: int, make: Callable[[bytes], Any]) -> None:
    """Register an opcode whose argument is a size of `length` bytes, then that many bytes."""
    _HANDLERS[code[0]] = lambda m: m.stack.append(make(m.take(m.number(length))))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _bytes_or_text(data: bytes) -> str:
    """Python 2's str: text where it is ASCII, as pickle.load(encoding="latin1") reads it otherwise."""
    return data.decode("latin-1")


def _signed(data: bytes) -> int:
    if len(data) > MAX_DIGITS:
        raise Malformed("a number in the pickle is too long")
    return int.from_bytes(data, "little", signed=True)


for _code, _make in (
    (b"N", lambda: None),
    (b"\x88", lambda: True),
    (b"\x89", lambda: False),
    (b"]", list),
    (b"\x8f", list),
    (b")", tuple),
    (b"}", dict),
):
    _constant(_code, _make)
_unsigned(b"K", 1)
_unsigned(b"M", 2)
_counted(b"X", 4, _text)
_counted(b"\x8c", 1, _text)
_counted(b"\x8d", 8, _text)
_counted(b"T", 4, _bytes_or_text)
_counted(b"U", 1, _bytes_or_text)
_counted(b"B", 4, bytes)
_counted(b"C", 1, bytes)
_counted(b"\x8e", 8, bytes)
_counted(b"\x96", 8, bytes)
_counted(b"\x8a", 1, _signed)
_counted(b"\x8b", 4, _signed)


@_on(b"\x80")
def _protocol(m: _Machine) -> None:
    if m.number(1) > 5:
        raise Malformed("the pickle has an unknown protocol")


@_on(b"\x95")
def _frame(m: _Machine) -> None:
    m.take(8)


@_on(b"J")
def _binint(m: _Machine) -> None:
    m.stack.append(_signed(m.take(4)))


@_on(b"G")
def _binfloat(m: _Machine) -> None:
    m.stack.append(struct.unpack(">d", m.take(8))[0])


@_on(b"I", b"L")
def _int(m: _Machine) -> None:
    text = m.line(MAX_DIGITS)
    m.stack.append(text == b"01" if text in (b"00", b"01") else int(text.removesuffix(b"L")))


@_on(b"F")
def _float(m: _Machine) -> None:
    m.stack.append(float(m.line(MAX_DIGITS)))


@_on(b"S")
def _string(m: _Machine) -> None:
    text = m.line(m.end)
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise Malformed("a string in the pickle has no quotes")
    m.stack.append(_bytes_or_text(codecs.escape_decode(text[1:-1])[0]))  # type: ignore[attr-defined]


@_on(b"V")
def _unicode(m: _Machine) -> None:
    m.stack.append(m.line(m.end).decode("raw-unicode-escape"))


@_on(b"(")
def _mark(m: _Machine) -> None:
    m.marks.append(len(m.stack))


@_on(b"0")
def _pop(m: _Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.pop()


@_on(b"1")
def _pop_mark(m: _Machine) -> None:
    m.pop_mark()


@_on(b"2")
def _dup(m: _Machine) -> None:
    m.stack.append(m.top())


@_on(b"l", b"\x91")
def _list(m: _Machine) -> None:
    m.stack.append(m.pop_mark())


@_on(b"t")
def _tuple(m: _Machine) -> None:
    m.stack.append(tuple(m.pop_mark()))


@_on(b"d")
def _dict(m: _Machine) -> None:
    items = m.pop_mark()
    m.stack.append(ordered_dict(list(zip(items[::2], items[1::2], strict=True))))


for _length, _code in enumerate((b"\x85", b"\x86", b"\x87"), start=1):
    _HANDLERS[_code[0]] = lambda m, n=_length: m.pop_tuple(n)  # type: ignore[misc]


@_on(b"g")
def _get(m: _Machine) -> None:
    m.recall(int(m.line(20)))


@_on(b"h")
def _binget(m: _Machine) -> None:
    m.recall(m.number(1))


@_on(b"j")
def _long_binget(m: _Machine) -> None:
    m.recall(m.number(4))


@_on(b"p")
def _put(m: _Machine) -> None:
    m.memo[int(m.line(20))] = m.top()


@_on(b"q")
def _binput(m: _Machine) -> None:
    m.memo[m.number(1)] = m.top()


@_on(b"r")
def _long_binput(m: _Machine) -> None:
    m.memo[m.number(4)] = m.top()


@_on(b"\x94")
def _memoize(m: _Machine) -> None:
    m.memo[len(m.memo)] = m.top()


@_on(b"c")
def _global(m: _Machine) -> None:
    m.push_global(_text(m.line(MAX_NAME)), _text(m.line(MAX_NAME)))


@_on(b"\x93")
def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    m.push_global(module, name)


@_on(b"R")
def _reduce(m: _Machine) -> None:
    args, cls = m.pop(), m.pop()
    m.stack.append(m.call(cls, args))


@_on(b"\x81")
def _newobj(m: _Machine) -> None:
    args, cls = m.pop(), m.pop()
    m.stack.append(m.instance(cls, args))


@_on(b"\x92")
def _newobj_ex(m: _Machine) -> None:
    m.pop()
    _newobj(m)


@_on(b"i")
def _inst(m: _Machine) -> None:
    m.push_global(_text(m.line(MAX_NAME)), _text(m.line(MAX_NAME)))
    cls = m.stack.pop()
    args = tuple(m.pop_mark())
    m.stack.append(m.instance(cls, args))


@_on(b"o")
def _obj(m: _Machine) -> None:
    items = m.pop_mark()
    m.stack.append(m.instance(items[0] if items else None, tuple(items[1:])))


@_on(b"b")
def _build(m: _Machine) -> None:
    m.build()


@_on(b"s")
def _set_item(m: _Machine) -> None:
    value, key = m.pop(), m.pop()
    m.set_items(m.top(), [key, value])


@_on(b"u")
def _set_items(m: _Machine) -> None:
    items = m.pop_mark()
    m.set_items(m.top(), items)


@_on(b"a")
def _append(m: _Machine) -> None:
    value = m.pop()
    m.extend(m.top(), [value])


@_on(b"e", b"\x90")
def _extend(m: _Machine) -> None:
    items = m.pop_mark()
    m.extend(m.top(), items)


@_on(b"Q")
def _persistent(m: _Machine) -> None:
    m.stack.append(m.persistent(m.pop()))
