"""Damaged files of every format end in one error of one line, soon, and nothing that is planted in them runs.

`benchmarks/fuzz_readers.py` does the same for as long as it is told to; docs/security.md has its counts.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.sources.mutants import PLANTED, attempt, mutated, seeds

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
INPUTS = 240
"""Damaged copies of each kind."""
APART = {"keras": 8}
"""Kinds that are read by a process of their own, each of which takes half a second to start."""
WHOLE = 8
"""Of these, those that are read as the command line reads them, with torch."""
SLOWEST = 5.0
"""Processor seconds for one file."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    return seeds(tmp_path_factory.mktemp("seeds"))


KINDS = (
    "checkpoint",
    "sparse checkpoint",
    "quantised checkpoint",
    "legacy checkpoint",
    "whole module",
    "pickle",
    "safetensors",
    "keras",
    "onnx",
    "torch.export",
    "TorchScript",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: dict[str, tuple[str, bytes]], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suffix, seed = honest[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(seed)
    assert attempt(kind, path) == "read"
    chance = random.Random(f"{kind} 1")
    outcomes: Counter[str] = Counter()
    count = APART.get(kind, INPUTS)
    for number in range(count):
        content = mutated(seed, chance)
        path.write_bytes(content)
        start = time.process_time()
        try:
            outcomes[attempt(kind, path, whole=number < WHOLE)] += 1
        except Exception as error:
            pytest.fail(f"{kind}, input {number}: {type(error).__name__}: {error}")
        assert time.process_time() - start < SLOWEST, f"{kind}, input {number}"
    assert not (tmp_path / PLANTED).exists()
    assert sum(outcomes.values()) == count
    assert set(outcomes) != {"read"}
