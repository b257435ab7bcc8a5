"""The pickle machine builds data and runs nothing."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources import unpickle
from pipeline.sources.pickled import Global, Record
from pipeline.sources.unpickle import Malformed
from pipeline.support.errors import PipelineError


def loads(data: bytes, **options: Any) -> Any:
    def persistent(identifier: Any) -> Any:
        return identifier

    return unpickle.load(data, persistent, "file.pth", **options)[0]


class Calls:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Plain:
    """An honest object."""

    def __init__(self) -> None:
        self.widths = [8, 16]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back_as_it_was(protocol: int) -> None:
    data = {"a": [1, 2.5, None, True, "x", b"y", (1, (2, 3))], "big": 2**70, 3: {"n": -1}}
    assert loads(pickle.dumps(data, protocol)) == data


@pytest.mark.parametrize("protocol", range(6))
def test_objects_become_records_with_their_state(protocol: int) -> None:
    record = loads(pickle.dumps(Plain(), protocol))
    assert isinstance(record, Record)
    assert record.cls == Global(__name__, "Plain")
    assert record.state == {"widths": [8, 16]}


def test_nothing_is_run_and_the_attempt_is_named(tmp_path: Path) -> None:
    import os
    import subprocess

    trace = tmp_path / "ran"
    for function, args in (
        (os.system, (f"touch {trace}",)),
        (subprocess.check_output, (["touch", str(trace)],)),
        (eval, (f"open({str(trace)!r}, 'w')",)),
        (exec, (f"open({str(trace)!r}, 'w')",)),
        (open, (str(trace), "w")),
        (getattr, ("x", "upper")),
        (__import__, ("os",)),
        (subprocess.Popen, (["touch", str(trace)],)),
    ):
        for protocol in range(6):
            with pytest.raises(PipelineError) as caught:
                loads(pickle.dumps({"weights": [Calls(function, *args)]}, protocol))
            assert caught.value.code == "unsafe-pickle"
            assert function.__name__ in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85\x81.",
        b"ctorch.hub\nload\n(S'a/b'\ntR.",
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        b"ccollections\nOrderedDict.fromkeys\n(S'1'\ntR.",
    ],
)
def test_every_way_to_call_is_refused(data: bytes) -> None:
    with pytest.raises(PipelineError) as caught:
        loads(data)
    assert caught.value.code == "unsafe-pickle"


def test_what_is_called_must_be_a_name() -> None:
    with pytest.raises(PipelineError, match="calls a str"):
        loads(b"S'system'\n(S'true'\ntR.")


def test_classes_of_the_user_stay_inert_even_when_called() -> None:
    record = loads(b"cmodels\nGeneratorJ\n(I3\ntR.")
    assert isinstance(record, Record)
    assert (str(record.cls), record.args) == ("models.GeneratorJ", (3,))


def test_only_what_tensors_need_is_taken_where_torch_opens_the_file_next() -> None:
    harmless = b"cmodels\nGeneratorJ\n)\x81."
    assert isinstance(loads(harmless), Record)
    with pytest.raises(PipelineError, match=r"imports models\.GeneratorJ"):
        loads(harmless, allowed=unpickle.tensors_only)
    assert loads(b"ccollections\nOrderedDict\n)R.", allowed=unpickle.tensors_only) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"(.",
        b"h\x05.",
        b"}I1\ns.",
        b"I1\nI2\na.",
        b"}(I1\nu.",
        b"]]s.",
        b"})\x81.",
        b"\x80\x02X\xff\xff\xff\x7fabc",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"Vabc",
        b"P1\n.",
        b"0.",
    ],
)
def test_damaged_pickles_are_malformed(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError, PipelineError, TypeError)):
        loads(data)


def test_a_key_that_is_nested_deeply_is_not_hashed() -> None:
    nest = b")" + b"\x85" * 200_000
    with pytest.raises(Malformed, match="dict key"):
        loads(b"}" + nest + b"I1\ns.")


def test_copying_without_end_is_stopped() -> None:
    grow = b"\x80\x02](" + b"N" * 5000 + b"e" + b"q\x000" + b"ccollections\nOrderedDict\nq\x010"
    with pytest.raises(ValueError, match="absurdly long"):
        loads(grow + b"c__builtin__\nset\nh\x00\x85R0" * 2000 + b"N.")


def test_two_million_opcodes_take_seconds_and_not_minutes() -> None:
    unit = b"(]q\x00N}t0"
    data = b"\x80\x02" + unit * (2_000_000 // 7) + b"N."
    start = time.process_time()
    assert loads(data) is None
    assert time.process_time() - start < 8


def test_a_mark_below_a_deep_stack_costs_no_time() -> None:
    data = b"\x80\x02(" + b"N" * 500_000 + b"(1" * 200_000 + b"1N."
    start = time.process_time()
    assert loads(data) is None
    assert time.process_time() - start < 5


def test_where_a_pickle_ends_is_told() -> None:
    first, second = pickle.dumps({"a": 1}, 2), pickle.dumps([2], 2)
    value, end = unpickle.load(b"xx" + first + second, lambda i: i, "f", start=2)
    assert (value, end) == ({"a": 1}, 2 + len(first))
    assert unpickle.load(b"xx" + first + second, lambda i: i, "f", start=end)[0] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b"c" + b"m" * 500 + b"\nn\n.",
        b"\x80\x02\x8b\xff\x0f\x00\x00" + b"\x01" * 4095 + b".",
        b"I" + b"9" * 3000 + b"\n.",
        b"}(" + b"N" * 100 + b"tNs.",
    ],
)
def test_names_numbers_and_keys_of_absurd_length_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        loads(data)
