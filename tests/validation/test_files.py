"""Validating files: what is read, what a verdict says, and that the order and the exit code hold."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.support.errors import PipelineError
from pipeline.validation import files as check
from pipeline.validation.files import check_files
from pipeline.validation.findings import Severity
from pipeline.validation.python_lines import STACK_TRACE, PythonLine
from pipeline.validation.waivers import Waiver
from tests.networks import style_onnx

TARGETS = ("barracuda-1.0", "barracuda-2.0", "barracuda-3.0")


def one_node(path: Path, operator: str = "HardSwish", name: str = "act", domain: str = "") -> Path:
    """x -> operator -> y."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], name=name, domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]), path)
    return path


@pytest.fixture
def bad(tmp_path) -> Path:
    return one_node(tmp_path / "bad.onnx")


@pytest.fixture
def good(tmp_path) -> Path:
    return style_onnx(tmp_path / "good.onnx")


# ------------------------------------------------------------------------------------------------ verdicts
def test_verdicts_come_by_file_then_by_target(good, bad):
    result = check_files([bad, good], TARGETS)
    assert [(v.file, v.target) for v in result.verdicts] == [(f, t) for f in (bad, good) for t in TARGETS]
    assert [v.verdict for v in result.verdicts] == ["fails"] * 3 + ["right"] * 3


def test_the_default_target_is_the_newest_barracuda(good):
    assert check_files([good]).targets == ("barracuda-3.0",)


def test_a_target_that_does_not_exist_is_an_error_before_any_file_is_read(tmp_path):
    with pytest.raises(PipelineError, match="unknown-target"):
        check_files([tmp_path / "none.onnx"], ["barracuda-9.9"])


@pytest.mark.parametrize(
    ("fail_on", "code"), [("error", 0), ("wrong", 0), ("warning", 0), ("slow", 1), ("note", 1)]
)
def test_fail_on_is_the_lowest_severity_that_fails(good, fail_on, code):
    result = check_files([good], fail_on=Severity(fail_on))
    assert {f.severity for f in result.verdicts[0].findings} == {Severity.SLOW, Severity.NOTE}
    assert result.exit_code == code


def test_several_processes_give_what_one_gives(tmp_path):
    files = [one_node(tmp_path / f"{n}.onnx", op) for n, op in enumerate(("Relu", "Gelu", "HardSwish", "Tanh"))]
    (tmp_path / "4.onnx").write_bytes(b"junk")
    alone = check_files([*files, tmp_path / "4.onnx"], TARGETS, jobs=1)
    together = check_files([*files, tmp_path / "4.onnx"], TARGETS, jobs=2)
    assert alone.as_dict() == together.as_dict()
    assert alone.exit_code == 2


def test_processes_are_started_when_much_work_is_left(tmp_path, monkeypatch):
    handed: list[list[Path]] = []
    monkeypatch.setattr(check, "_processors", lambda: 2)

    def in_processes(paths: list[Path], *_: object) -> list[check._Checked]:
        handed.append(paths)
        return [check._Checked()] * len(paths)

    monkeypatch.setattr(check, "_in_processes", in_processes)
    files = [one_node(tmp_path / f"{n}.onnx") for n in range(4)]
    check_files(files)
    assert not handed
    monkeypatch.setattr(check, "PARALLEL_ABOVE", 0.0)
    check_files(files)
    assert handed == [files[1:]]


def dies_in_a_child(path: Path, targets: tuple[str, ...], measure: bool) -> check._Checked:
    """As check._check_one, but the system ends every process that was started for it."""
    return _CHECK_ONE(path, targets, measure) if multiprocessing.parent_process() is None else os._exit(9)


_CHECK_ONE = check._check_one


def test_a_process_that_is_ended_by_the_system_costs_time_and_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_check_one", dies_in_a_child)
    files = [one_node(tmp_path / f"{n}.onnx") for n in range(3)]
    assert [v.verdict for v in check_files(files, jobs=2).verdicts] == ["fails"] * 3


# ------------------------------------------------------------------------------------------------ which files
def test_folders_and_globs_stand_for_their_files_once_and_in_order(tmp_path, monkeypatch):
    for name in ("b/two.onnx", "b/c/three.onnx", "a/one.onnx"):
        one_node(tmp_path / name)
    (tmp_path / "b" / "readme.txt").write_text("no model")
    monkeypatch.chdir(tmp_path)
    result = check_files([Path("b"), Path("**/*.onnx"), Path("a/one.onnx")])
    assert [v.file.as_posix() for v in result.verdicts] == ["b/c/three.onnx", "b/two.onnx", "a/one.onnx"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    path = one_node(tmp_path / "net[1].onnx")
    assert [v.file for v in check_files([path]).verdicts] == [path]


@pytest.mark.parametrize("place", ["empty", "nothing-*.onnx"])
def test_a_folder_or_glob_without_models_is_an_entry_of_its_own(tmp_path, place, bad):
    (tmp_path / "empty").mkdir()
    result = check_files([tmp_path / place, bad])
    assert [v.verdict for v in result.verdicts] == ["unreadable", "fails"]
    assert result.verdicts[0].error is not None and result.verdicts[0].error.code == "nothing-to-validate"
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "file-not-found"),
        (b"", "empty-file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs-pointer"),
        (b"<!DOCTYPE html><html></html>", "html-page"),
        (b"\x08\x08\x3a\x7f", "truncated-file"),
        (b"\x08\x08\x3a\x02\x0a\x7f", "truncated-file"),
    ],
)
def test_a_file_that_cannot_be_read_hides_no_other(tmp_path, good, content, code):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    result = check_files([path, good], TARGETS)
    first, *rest = result.verdicts
    assert first.error is not None and first.error.code == code and first.target == ""
    assert [v.verdict for v in rest] == ["right"] * 3
    assert result.exit_code == 2


def test_a_checkpoint_is_reported_to_be_converted(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x80\x02}q\x00.")
    (verdict,) = check_files([path]).verdicts
    assert verdict.error is not None and "pipeline convert" in verdict.error.remedy


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX alone")
def test_a_file_name_that_is_not_utf8_can_be_printed(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.onnx"))
    try:
        one_node(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (verdict,) = check_files([path]).verdicts
    assert verdict.name.endswith("n\\xff.onnx") and verdict.name.encode()


# ------------------------------------------------------------------------------------------------ reading
def test_external_data_is_a_finding_and_is_not_read(tmp_path):
    path = tmp_path / "net.onnx"
    model = onnx.load(style_onnx(path))
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_bytes(b"")
    (verdict,) = check_files([path]).verdicts
    assert "external-data" in {f.code for f in verdict.failing(Severity.ERROR)}


def test_missing_external_data_is_named(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(onnx.load(style_onnx(path)), path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").unlink()
    (verdict,) = check_files([path]).verdicts
    assert verdict.error is not None and verdict.error.code == "missing-external-data"
    assert "net.data" in str(verdict.error)


def test_what_onnx_rejects_and_unity_imports_is_validated(tmp_path):
    """Nodes out of order and an attribute that ONNX does not know: Barracuda 3.0 sorts, and never looks."""
    path = tmp_path / "net.onnx"
    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["y"], unheard_of=1), helper.make_node("Relu", ["x"], ["a"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    onnx.save(model, path)
    result = check_files([path], ("barracuda-3.0",))
    assert result.verdicts[0].error is None and result.exit_code == 0


def test_nothing_is_printed_on_stdout_for_a_tensor_without_a_type(tmp_path, capsys):
    path = tmp_path / "net.onnx"
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [TensorProto(name="w", data_type=0, dims=[1])],
    )
    onnx.save(helper.make_model(graph), path)
    check_files([path])
    assert capsys.readouterr().out == ""


def test_weights_are_not_touched(tmp_path, good):
    before = good.read_bytes()
    check_files([good], TARGETS)
    assert good.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["good.onnx"]


# ------------------------------------------------------------------------------------------------ Python lines
def test_findings_carry_the_python_line_of_their_node(tmp_path):
    path = one_node(tmp_path / "net.onnx")
    model = onnx.load(path)
    trace = 'File "/home/u/net.py", line 7, in forward\n    return F.hardswish(x)'
    model.graph.node[0].metadata_props.add(key=STACK_TRACE, value=trace)
    onnx.save(model, path)
    (verdict,) = check_files([path]).verdicts
    assert verdict.lines == {"act": PythonLine("/home/u/net.py", 7, "forward", "return F.hardswish(x)")}
    assert verdict.as_dict()["findings"][0]["python"]["line"] == 7


# ------------------------------------------------------------------------------------------------ waivers
def test_a_waived_finding_stays_and_does_not_fail(bad):
    waiver = Waiver("unknown-operator", "the shader does it", folder=bad.parent)
    result = check_files([bad], TARGETS, waivers=[waiver])
    assert result.exit_code == 0 and not result.unused
    assert [v.verdict for v in result.verdicts] == ["fails"] * 3
    assert "1 waived" in result.verdicts[0].summary
    assert result.as_dict()["files"][0]["findings"][0]["waived"] == "the shader does it"


def test_a_waiver_for_one_target_leaves_the_others(bad):
    waiver = Waiver("unknown-operator", "why", target="barracuda-2.0", folder=bad.parent)
    result = check_files([bad], TARGETS, waivers=[waiver])
    assert [bool(v.failing(Severity.ERROR)) for v in result.verdicts] == [True, False, True]
    assert result.exit_code == 1


def test_a_waiver_is_unused_only_where_its_file_and_target_were_validated(tmp_path, good):
    folder = tmp_path
    here = Waiver("unknown-operator", "why", file="*.onnx", folder=folder)
    elsewhere = Waiver("unknown-operator", "why", file="other/*.onnx", folder=folder)
    other_target = Waiver("unknown-operator", "why", target="barracuda-1.0", folder=folder)
    assert check_files([good], waivers=[here, elsewhere, other_target]).unused == (here,)


def test_an_error_cannot_be_waived(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    result = check_files([tmp_path / "net.onnx"], waivers=[Waiver("unknown-operator", "why", folder=tmp_path)])
    assert result.exit_code == 2 and not result.unused


def test_equal_files_give_equal_results(tmp_path):
    path = tmp_path / "net.onnx"
    style_onnx(path)
    assert check_files([path], TARGETS).as_dict() == check_files([path], TARGETS).as_dict()


def test_counts_use_singular_and_plural():
    """`wrong` and `slow` are adjectives."""
    from pipeline.validation.files import _counted

    assert [_counted(kind, 7) for kind in ("error", "wrong", "warning", "slow", "note")] == [
        "7 errors",
        "7 wrong",
        "7 warnings",
        "7 slow",
        "7 notes",
    ]
    assert _counted("error", 1) == "1 error"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"input": NaN}', '{"size_multiple": Infinity}'])
def test_metadata_that_convert_refuses_is_refused(good, text):
    model = onnx.load(good)
    del model.metadata_props[:]
    model.metadata_props.add(key="image_contract", value=text)
    onnx.save(model, good)
    (verdict,) = check_files([good]).verdicts
    assert verdict.error is not None and verdict.error.code == "damaged-file"
