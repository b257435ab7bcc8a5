"""The benchmark scene's code: its numbers are numpy's, its table is the one that the pipeline reads."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.unity.measurements import COLUMNS, read_measurements, read_rows
from tests.csharp.conftest import ask


def test_percentiles_are_those_of_numpy(program: Path) -> None:
    random.seed(7)
    cases = [[random.uniform(0, 100) for _ in range(count)] for count in (1, 2, 3, 20, 50, 51)]
    requested = [(share, times) for times in cases for share in (0, 0.25, 0.5, 0.95, 1)]
    text = "".join(f"{share} {' '.join(map(str, times))}\n" for share, times in requested)
    for (share, times), line in zip(requested, ask(program, "benchmark", "samples", stdin=text), strict=True):
        percentile, minimum, mean, count = map(float, line.split())
        assert percentile == pytest.approx(np.percentile(times, share * 100), rel=1e-12)
        assert (minimum, count) == (min(times), len(times))
        assert mean == pytest.approx(np.mean(times), rel=1e-12)
    assert ask(program, "benchmark", "samples", stdin="0.5\n") == ["0 0 0 0"]


def test_every_style_is_timed_at_every_size_on_every_worker(program: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    frames, alive, *logs = ask(program, "benchmark", "run", str(table))
    rows = read_rows(table)
    workers = ["Compute", "CSharpBurst"]  # those of the made-up engine
    styles = ["Candy", 'Rain, "heavy"']
    sizes = [(64, 48, 64, 48), (32, 18, 32, 20)]
    expected = [(style, size, worker) for style in styles for size in sizes for worker in workers]
    expected += [("Fixed", (32, 16, 32, 16), worker) for worker in workers]
    reported = [(r.style, (r.width, r.height, r.network_width, r.network_height), r.worker) for r in rows]
    assert reported == expected
    assert all((row.warmup_runs, row.runs, row.error) == (2, 7, "") for row in rows)
    assert all(0 < row.minimum_ms <= row.median_ms <= row.p95_ms for row in rows)  # type: ignore[operator]
    assert {(row.device, row.engine) for row in rows} == {('GPU, "fast"', "Fake 7")}
    assert frames == f"frames {len(rows) * (1 + 2 + 7)} done True" and alive == "alive "
    assert logs[0].startswith(f"log Style Transfer: timed {len(rows)} cases") and logs[-1] == "quit"
    assert len(read_measurements(table)) == 3
    assert table.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_slow_worker_ends_after_three_runs(program: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    ask(program, "benchmark", "run", str(table), "11")
    assert {(row.warmup_runs, row.runs) for row in read_rows(table)} == {(1, 3)}


def test_a_network_that_fails_is_a_row_with_the_reason(program: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    _, alive, *_ = ask(program, "benchmark", "broken", str(table))
    rows = read_rows(table)
    assert rows and all(row.median_ms is None and "broken network" in row.error for row in rows)
    assert alive == "alive "


def test_a_benchmark_that_is_left_frees_what_it_holds(program: Path, tmp_path: Path) -> None:
    frames, alive, *_ = ask(program, "benchmark", "left", str(tmp_path / "table.csv"))
    assert (frames, alive) == ("frames 4 done False", "alive ")


def test_a_folder_that_cannot_be_written_ends_nothing(program: Path, tmp_path: Path) -> None:
    frames, _, *logs = ask(program, "benchmark", "run", str(tmp_path / "none" / "table.csv"))
    assert "done True" in frames and "timed" in logs[0]


def test_a_scene_gets_the_styles_of_the_project_where_none_are_chosen(program: Path) -> None:
    assert ask(program, "benchmark", "scene") == ["2 1", "opened Assets/benchmark"]
