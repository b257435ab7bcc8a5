"""The [validate] section of pipeline.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.validation.findings import Finding, Severity
from pipeline.validation.waivers import Settings, Waiver, load_settings, waiver_of


def finding(code: str = "unknown-operator", node: str = "/up/Resize", target: str = "barracuda-2.0") -> Finding:
    return Finding(code, Severity.ERROR, target, "because", node=node)


def settings_of(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_all_settings_are_read(tmp_path):
    settings = settings_of(
        tmp_path,
        """
        [validate]
        files = ["Assets/**/*.onnx", "one.onnx"]
        targets = ["barracuda-2.0"]
        fail-on = "slow"

        [[validate.waivers]]
        code = "unknown-operator"
        file = "Assets/*.onnx"
        node = "up*"
        target = "barracuda-2.0"
        reason = "because"
        """,
    )
    assert settings.files == (tmp_path / "Assets/**/*.onnx", tmp_path / "one.onnx")
    assert (settings.targets, settings.fail_on) == (("barracuda-2.0",), Severity.SLOW)
    (waiver,) = settings.waivers
    assert (waiver.code, waiver.file, waiver.node, waiver.target) == (
        "unknown-operator",
        "Assets/*.onnx",
        "up*",
        "barracuda-2.0",
    )
    assert str(waiver) == "unknown-operator, file Assets/*.onnx, node up*, target barracuda-2.0"


def test_a_missing_file_is_an_error_only_if_it_was_named(tmp_path):
    assert load_settings(tmp_path / "pipeline.toml") == Settings()
    with pytest.raises(PipelineError, match="no such file"):
        load_settings(tmp_path / "pipeline.toml", required=True)


def test_a_file_with_only_build_settings_has_no_validation_settings(tmp_path):
    assert settings_of(tmp_path, '[[models]]\nsource = "a.pth"\n') == Settings()


ROW = '[[validate.waivers]]\ncode = "unknown-operator"\nreason = "why"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("validate = 3", "validate must be a table"),
        ("[validat]", "validat is not known; did you mean validate"),
        ("[validate]\ntarget = []", "validate.target is not known; did you mean targets"),
        ('[validate]\nfiles = "a.onnx"', "validate.files must be a list"),
        ("[validate]\nfiles = [3]", "validate.files must be a list of texts"),
        ("[validate]\nfail-on = 3", "validate.fail-on must be text"),
        ('[validate]\nfail-on = "bad"', "validate.fail-on must be one of error, wrong, warning, slow, note"),
        ("[validate]\nwaivers = [3]", r"validate.waivers\[1\] must be a table"),
        ('[[validate.waivers]]\nreason = "why"', r"validate.waivers\[1\].code is missing"),
        ('[[validate.waivers]]\ncode = "unknown-operator"', r"validate.waivers\[1\].reason is missing"),
        (ROW + ROW.replace("why", " "), r"validate.waivers\[2\].reason must be text, and not empty"),
        (ROW.replace("operator", "operatr"), "is not the code of a finding; did you mean unknown-operator"),
        (ROW + 'target = "barracuda-3"', "is not a target; did you mean barracuda-3.0"),
        (ROW + 'nodes = "a"', "nodes is not known; did you mean node"),
        ("[validate", "this is not valid TOML"),
    ],
)
def test_errors_name_the_wrong_setting(tmp_path, text, told):
    with pytest.raises(PipelineError, match=told) as raised:
        settings_of(tmp_path, text)
    assert raised.value.code == "bad-config" and raised.value.subject == str(tmp_path / "pipeline.toml")


@pytest.mark.parametrize(
    ("glob", "file", "covered"),
    [
        ("", "anywhere/net.onnx", True),
        ("*.onnx", "net.onnx", True),
        ("*.onnx", "Assets/net.onnx", False),
        ("Assets/*.onnx", "Assets/net.onnx", True),
        ("Assets/**/*.onnx", "Assets/net.onnx", True),
        ("Assets/**/*.onnx", "Assets/a/b/net.onnx", True),
        ("**/net.onnx", "net.onnx", True),
        ("**/net.onnx", "Assets/a/net.onnx", True),
        ("**/net.onnx", "Assets/a/subnet.onnx", False),
        ("Assets/**", "Assets/a/b/net.onnx", True),
        ("net?.onnx", "net1.onnx", True),
        ("net.onnx", "netxonnx", False),
        ("net[1].onnx", "net[1].onnx", True),
        ("./net.onnx", "net.onnx", True),
    ],
)
def test_file_globs_are_those_of_gitignore(tmp_path, glob, file, covered):
    waiver = Waiver("unknown-operator", "why", file=glob, folder=tmp_path)
    assert waiver.covers(tmp_path / file, "barracuda-1.0") is covered


@pytest.mark.parametrize(
    ("node", "waived"), [("", True), ("*", True), ("/up/*", True), ("*Resize", True), ("Resize", False)]
)
def test_node_globs_cross_slashes(tmp_path, node, waived):
    waiver = Waiver("unknown-operator", "why", node=node, folder=tmp_path)
    assert waiver.waives(finding(), tmp_path / "net.onnx") is waived


def test_a_node_name_with_brackets_is_matched_literally(tmp_path):
    waiver = Waiver("unknown-operator", "why", node="block[0]", folder=tmp_path)
    assert waiver.waives(finding(node="block[0]"), tmp_path / "net.onnx")


def test_the_first_matching_waiver_applies(tmp_path):
    first = Waiver("slice-steps", "other", folder=tmp_path)
    second = Waiver("unknown-operator", "for 1.0", target="barracuda-1.0", folder=tmp_path)
    third = Waiver("unknown-operator", "for all", folder=tmp_path)
    assert waiver_of(finding(), tmp_path / "net.onnx", (first, second, third)) is third
    assert waiver_of(finding("slice-empty"), tmp_path / "net.onnx", (first, second, third)) is None
