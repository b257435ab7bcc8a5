"""pipeline validate, from the outside."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import fastjsonschema
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.validation.files import SCHEMA
from tests.conftest import REPOSITORY
from tests.networks import style_onnx
from tests.report.results import full_result


@pytest.fixture
def unsupported(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("HardSwish", ["x"], ["y"], name="act")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path = tmp_path / "swish.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]), path)
    return path


def test_a_good_model_ends_with_0(pipeline, tmp_path):
    done = pipeline("validate", style_onnx(tmp_path / "net.onnx"))
    assert done.code == 0
    assert "computes right" in done.err


def test_an_unknown_operator_ends_with_1_and_says_what_unity_says(pipeline, unsupported):
    done = pipeline("validate", unsupported)
    assert done.code == 1
    assert "error [unknown-operator] HardSwish act" in done.out
    assert "Unknown type HardSwish encountered while parsing layer" in done.out


def test_json_holds_every_file_and_target(pipeline, tmp_path, unsupported):
    good = style_onnx(tmp_path / "net.onnx")
    targets = ("--target", "barracuda-1.0", "--target", "barracuda-3.0")
    done = pipeline("validate", good, unsupported, *targets, "--json")
    assert done.code == 1
    verdicts = json.loads(done.out)["files"]
    assert [v["target"] for v in verdicts] == ["barracuda-1.0", "barracuda-3.0"] * 2
    assert any(f["code"] == "unknown-operator" for f in verdicts[2]["findings"])


def test_a_folder_stands_for_its_onnx_files(pipeline, tmp_path, unsupported):
    style_onnx(tmp_path / "a.onnx")
    done = pipeline("validate", tmp_path, "--json")
    assert [v["file"] for v in json.loads(done.out)["files"]] == [str(tmp_path / "a.onnx"), str(unsupported)]


def test_fail_on_sets_the_bar(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    assert pipeline("validate", source, "--fail-on", "wrong").code == 0
    assert pipeline("validate", source, "--fail-on", "slow").code == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs-pointer"),
        (b"<!DOCTYPE html><html></html>", "html-page"),
        (b"", "empty-file"),
    ],
)
def test_what_is_no_model_is_named(pipeline, tmp_path, content, code):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    done = pipeline("validate", path)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err


def test_an_empty_folder_is_an_error(pipeline, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "[nothing-to-validate]" in pipeline("validate", tmp_path / "empty").err


# ------------------------------------------------------------------------------------------------ formats
@pytest.fixture
def schema():
    path = REPOSITORY / "docs" / "schema" / f"validate-{SCHEMA}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_json_is_as_its_schema_says(pipeline, tmp_path, unsupported, schema):
    (tmp_path / "broken.onnx").write_bytes(b"")
    done = pipeline("validate", unsupported, tmp_path / "broken.onnx", "--json")
    fastjsonschema.compile(schema)(json.loads(done.out))
    fastjsonschema.compile(schema)(full_result(tmp_path).as_dict())


def test_the_schema_knows_every_key_and_no_other(tmp_path, schema):
    data = full_result(tmp_path).as_dict()
    kinds = schema["definitions"]
    verdict = data["files"][0]
    error = next(v["error"] for v in data["files"] if v["error"])
    for item, described in (
        (data, schema),
        (verdict, kinds["verdict"]),
        (verdict["findings"][0], kinds["finding"]),
        (verdict["findings"][0]["python"], kinds["python"]),
        (error, kinds["error"]),
        (data["unused_waivers"][0], kinds["waiver"]),
    ):
        assert set(item) == set(described["properties"]) == set(described["required"])


def test_json_is_an_alias_of_format_json(pipeline, unsupported):
    first, second = (
        pipeline("validate", unsupported, "--json"),
        pipeline("validate", unsupported, "--format", "json"),
    )
    assert (first.out, first.code) == (second.out, second.code)
    assert "[conflicting-options]" in pipeline("validate", unsupported, "--json", "--format", "sarif").err


@pytest.mark.parametrize("form", ["json", "sarif", "junit", "github"])
def test_data_is_alone_on_stdout(pipeline, tmp_path, unsupported, form):
    (tmp_path / "broken.onnx").write_bytes(b"")
    done = pipeline("validate", unsupported, tmp_path / "broken.onnx", "--format", form)
    assert done.code == 2 and "[empty-file]" in done.err
    match form:
        case "junit":
            assert ET.fromstring(done.out).tag == "testsuites"
        case "github":
            assert [line.split(" ")[0] for line in done.out.splitlines()] == ["::error", "::error"]
        case _:
            assert json.loads(done.out)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "github"])
def test_output_goes_to_a_file_and_the_summary_to_people(pipeline, tmp_path, unsupported, form):
    place = tmp_path / "new" / "result"
    shown = pipeline("validate", unsupported, "--format", form)
    done = pipeline("validate", unsupported, "--format", form, "--output", place)
    assert (done.code, done.out) == (1, "") and "does not import or run (1 error)" in done.err
    assert place.read_bytes().decode("utf-8") == shown.out


def test_an_output_that_cannot_be_written_is_one_line(pipeline, tmp_path, unsupported):
    done = pipeline("validate", unsupported, "--output", tmp_path)
    assert done.code == 2 and "[destination-is-folder]" in done.err


# ------------------------------------------------------------------------------------------------ text
def test_verbose_says_where_it_is_known_from_and_quiet_only_what_fails(pipeline, tmp_path):
    source = style_onnx(tmp_path / "net.onnx")
    normal, verbose, quiet = (pipeline("validate", source, *more) for more in ((), ("-v",), ("-q",)))
    assert "note [" not in normal.out and "-v shows everything" in normal.err
    assert "note [" in verbose.out and "Source:" in verbose.out
    assert (quiet.out, quiet.err) == ("", "")


def test_several_targets_give_a_matrix(pipeline, tmp_path, unsupported):
    style_onnx(tmp_path / "net.onnx")
    done = pipeline("validate", tmp_path, "--target", "barracuda-1.0", "--target", "barracuda-3.0")
    header, *rows = done.err.splitlines()
    assert header.split() == ["barracuda-1.0", "barracuda-3.0"]
    assert [row.split("onnx")[1].split() for row in rows[:2]] == [["right"] * 2, ["fails", "(1)"] * 2]


def test_text_is_coloured_only_on_request(pipeline, unsupported, monkeypatch):
    assert "\x1b[" not in pipeline("validate", unsupported).out
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = pipeline("validate", unsupported)
    assert "\x1b[31merror" in done.out
    assert "\x1b[" not in pipeline("validate", unsupported, "--json").out


# ------------------------------------------------------------------------------------------------ pipeline.toml
CONFIG = """
[validate]
files = ["models/*.onnx"]
targets = ["barracuda-1.0", "barracuda-2.0"]
fail-on = "error"

[[validate.waivers]]
code = "unknown-operator"
node = "act"
reason = "our own importer knows it"

[[validate.waivers]]
code = "slice-steps"
reason = "once upon a time"
"""


@pytest.fixture
def configured(tmp_path, unsupported):
    """The current folder of the command has a pipeline.toml and a model that is waived."""
    here = tmp_path / "here"
    (here / "models").mkdir(parents=True, exist_ok=True)
    unsupported.rename(here / "models" / "swish.onnx")
    (here / "pipeline.toml").write_text(CONFIG)
    return here


def test_without_arguments_the_config_says_everything(pipeline, configured):
    done = pipeline("validate", "--json")
    data = json.loads(done.out)
    assert done.code == 0 and data["fail_on"] == "error"
    assert [(v["file"], v["target"]) for v in data["files"]] == [
        ("models/swish.onnx", "barracuda-1.0"),
        ("models/swish.onnx", "barracuda-2.0"),
    ]
    assert {f["waived"] for v in data["files"] for f in v["findings"]} == {"our own importer knows it"}


def test_a_waived_finding_is_reported_with_its_reason_and_an_unused_waiver_is_reported(pipeline, configured):
    done = pipeline("validate")
    assert done.code == 0 and "Waived:  our own importer knows it" in done.out
    assert "warning [unused-waiver] pipeline.toml: no finding matches this waiver: slice-steps" in done.err


def test_the_command_line_wins_over_the_config(pipeline, configured):
    done = pipeline("validate", "models", "--target", "barracuda-3.0", "--fail-on", "note", "--json")
    data = json.loads(done.out)
    assert (data["targets"], data["fail_on"]) == (["barracuda-3.0"], "note")


def test_another_config_is_named_and_its_paths_are_its_own(pipeline, configured, monkeypatch):
    (configured / "other").mkdir()
    monkeypatch.chdir(configured / "other")
    done = pipeline("validate", "--config", "../pipeline.toml", "--json")
    assert done.code == 0 and json.loads(done.out)["files"][0]["file"] == "../models/swish.onnx"
    assert "[bad-config]" in pipeline("validate", "--config", "none.toml").err


def test_a_wrong_key_is_named(pipeline, configured):
    (configured / "pipeline.toml").write_text('[validate]\nfail_on = "error"\n')
    done = pipeline("validate", "models")
    assert done.code == 2 and "validate.fail_on is not known; did you mean fail-on" in done.err


def test_nothing_to_validate_is_an_error(pipeline):
    done = pipeline("validate")
    assert done.code == 2 and "[nothing-to-validate]" in done.err


def test_one_unreadable_file_hides_no_verdict(pipeline, tmp_path, unsupported):
    (tmp_path / "broken.onnx").write_bytes(b"")
    done = pipeline("validate", tmp_path / "broken.onnx", unsupported)
    assert done.code == 2 and "[unknown-operator]" in done.out and "[empty-file]" in done.err
