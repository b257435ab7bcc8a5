"""The models that lie in this repository's Unity project, validated as a user's CI would."""

from __future__ import annotations

import pytest

from pipeline import targets
from pipeline.validation.files import check_files
from pipeline.validation.findings import Severity
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("target", targets.names("barracuda"))
def test_every_bundled_model_computes_right_and_the_console_stays_silent(target):
    result = check_files([REPOSITORY / "UnityProject" / "Assets"], [target], fail_on=Severity.WARNING)
    reported = {verdict.file.name: verdict.summary for verdict in result.verdicts}
    assert [(v.file.name, f.code, f.reason) for v in result.verdicts for f in v.failing(Severity.WARNING)] == []
    assert result.exit_code == 0, reported
    assert all(verdict.verdict == "right" for verdict in result.verdicts) and reported
