"""Programs that never end, grow without end, or end the process that runs them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.build.inspection import inspect
from pipeline.sources import read
from pipeline.sources.trial import first_run
from pipeline.support.errors import PipelineError
from tests.sources.attacks import MARK, Members, code, with_convolution, write

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]


@pytest.mark.parametrize(
    ("body", "code_wanted"),
    [
        ("    for i in range(9223372036854775807):\n      x = torch.add(x, 1)\n", "time-limit"),
        ("    for i in range(40):\n      x = torch.cat([x, x], 1)\n", "memory-limit"),
        ("    x = torch.zeros([1, 3, 100000, 100000])\n", "memory-limit"),
    ],
)
def test_programs_that_run_or_grow_without_end_are_stopped(
    tmp_path: Path, whole: dict[str, Members], monkeypatch: pytest.MonkeyPatch, body: str, code_wanted: str
) -> None:
    monkeypatch.setenv("PIPELINE_TIME_LIMIT", "3" if code_wanted == "time-limit" else "60")
    monkeypatch.setenv("PIPELINE_MEMORY_LIMIT", "800M")
    members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(body))}
    path = write(tmp_path / "a.pt", list(members.items()))
    with pytest.raises(PipelineError) as caught:
        inspect(path)
    assert caught.value.code == code_wanted
    assert "PIPELINE_" in caught.value.remedy


def test_a_program_that_grows_later_is_stopped_too(
    tmp_path: Path, whole: dict[str, Members], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size of the first run it is harmless."""
    from pipeline.sources import reference
    from pipeline.support import memory
    from pipeline.support.errors import LimitReached

    body = (
        "    if torch.gt(torch.size(x, 2), 100):\n      y = torch.zeros([1, 3, 100000, 100000])\n"
        "    else:\n      y = x\n    x = torch.add(y, x)\n"
    )
    members = {**whole["script"], "code/__torch__.py": with_convolution(whole, code(body))}
    network = read(write(tmp_path / "a.pt", list(members.items())))
    monkeypatch.setattr(memory, "_own_process", True)
    paint = reference(network)
    with pytest.raises(LimitReached, match="memory-limit"):
        paint(np.zeros((1, 3, 128, 128), np.float32))


def test_a_program_that_ends_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    with pytest.raises(PipelineError, match="signal 6") as caught:
        first_run(tmp_path / "a.pt", os.abort)
    assert caught.value.code == "source-does-not-run"
    first_run(tmp_path / "a.pt", lambda: 1 / 0)
    # What it failed at here is not taken for a run that went well: the next one is without the limits.
    with pytest.raises(PipelineError, match="needs to open a file"):
        first_run(tmp_path / "a.pt", lambda: (tmp_path / MARK).write_text("x"))
    assert not (tmp_path / MARK).exists()
