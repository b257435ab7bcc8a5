"""Tables of the benchmark scene; that the C# writes such a table stands in tests/csharp/test_benchmark.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.support.errors import PipelineError
from pipeline.unity.measurements import COLUMNS, read_measurements, read_rows

HEAD = ",".join(COLUMNS) + "\n"


def line(**changes: str) -> str:
    """A row, with what is to be different."""
    values = {name: "x" for name in COLUMNS} | {
        **{"style": "Mosaic", "worker": "Compute", "width": "1280", "height": "720", "error": ""},
        **{"network_width": "1280", "network_height": "720", "warmup_runs": "5", "runs": "50"},
        **{"median_ms": "10.5", "p95_ms": "12", "minimum_ms": "10", "mean_ms": "10.75", "device": "GPU"},
    }
    return ",".join((values | changes)[name] for name in COLUMNS) + "\n"


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "StyleTransferBenchmark.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_cases_are_told_by_style_size_and_worker(tmp_path: Path) -> None:
    text = (
        HEAD + line() + line(worker="CSharpBurst", median_ms="900", processor='"CPU, fast"') + line(style="Rain")
    )
    reported = read_measurements(write(tmp_path, text))
    assert set(reported) == {"Mosaic", "Rain"} and set(reported["Mosaic"]) == {"1280x720"}
    compute, burst = (reported["Mosaic"]["1280x720"][worker] for worker in ("Compute", "CSharpBurst"))
    assert (compute["median"], compute["p95"], compute["runs"], compute["device"]) == (10.5, 12, 50, "GPU")
    assert (burst["median"], burst["device"]) == (900, "CPU, fast")


def test_failed_cases_are_rows_and_no_measurements(tmp_path: Path) -> None:
    failed = line(style="Rain", error="out of memory", **{name: "" for name in COLUMNS if name.endswith("_ms")})
    path = write(tmp_path, HEAD + line() + failed)
    assert [row.error for row in read_rows(path)] == ["", "out of memory"]
    assert read_rows(path)[1].median_ms is None
    assert set(read_measurements(path)) == {"Mosaic"}


def test_the_last_of_equal_cases_counts(tmp_path: Path) -> None:
    reported = read_measurements(write(tmp_path, HEAD + line() + line(median_ms="7")))
    assert reported["Mosaic"]["1280x720"]["Compute"]["median"] == 7


def test_a_byte_order_mark_carriage_returns_and_further_columns_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + (HEAD.strip() + ",more\n" + line().strip() + ",1\n").replace("\n", "\r\n")
    assert read_measurements(write(tmp_path, text))["Mosaic"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no column style"),
        (HEAD.replace(",", ";"), "no column style"),
        (HEAD.replace("median_ms", "median"), "no column median_ms"),
        (HEAD, "no rows"),
        (HEAD + line(error="boom", median_ms=""), "the first with: boom"),
        (HEAD + line().rpartition(",")[0], "line 2 has a different number of cells"),
        (HEAD + line().strip() + ",more", "line 2 has a different number of cells"),
        (HEAD + line() + line(median_ms="nan"), "line 3: median_ms is 'nan'"),
        (HEAD + line(p95_ms="-1"), "p95_ms is '-1'"),
        (HEAD + line(median_ms="12..5"), "median_ms is"),
        (HEAD + line(width="1e3"), "width is '1e3'"),
        (HEAD + line(runs="9" * 5000), "runs is '999"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (HEAD + '"' + "a" * 200000, "line"),
    ],
)
def test_what_is_not_such_a_table_is_reported_with_its_line(tmp_path: Path, text: str | bytes, part: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read_measurements(write(tmp_path, text))
    assert caught.value.code == "bad-measurements"
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        read_rows(tmp_path / "none.csv")
    assert caught.value.code == "file-not-found"
