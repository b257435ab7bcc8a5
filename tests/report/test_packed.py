"""What the report says about packing: sentences, table and plot."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from pipeline.report import packed

FACTS = {
    "weights": "auto",
    "min_psnr": 40.0,
    "bytes": 600_000,
    "float_bytes": 7_000_000,
    "source_bytes": 6_700_000,
    "psnr": 41.2,
    "measured": {"photograph": 41.2, "drawn": 43.0},
    "calibration": "drawn pictures",
    "own_integers": 0,
    "table": [
        {"weights": "half", "bytes": 3_000_000, "psnr": None},
        {"weights": "int8", "bytes": 1_500_000, "psnr": 63.0},
        {"weights": "int4", "bytes": 500_000, "psnr": 34.5},
    ],
}


def test_sentences_say_sizes_quality_what_it_buys_and_what_not():
    text = " ".join(packed.sentences(FACTS, 1_700_000))
    for part in (
        "600,000 bytes",
        "7,000,000",
        "6,700,000",
        "41.2 dB",
        "required 40",
        "saves bytes",
        "not make the network faster",
    ):
        assert part in text
    assert "about 0.2 s to rebuild" in text and "about 0.7 s for the inference package" in text


def test_integers_that_were_kept_and_pictures_of_ones_own_are_told():
    text = " ".join(packed.sentences(FACTS | {"own_integers": 16}, 1))
    assert "16 tensors were already integers" in text
    assert "a.png, b.png" in " ".join(packed.sentences(FACTS | {"calibration": ["a.png", "b.png"]}, 1))


def test_the_table_has_the_chosen_row_among_the_others_largest_first():
    rows = packed.rows(FACTS)
    assert [row["weights"] for row in rows] == ["float", "half", "int8", "auto", "int4"]
    assert [row["chosen"] for row in rows] == [False, False, False, True, False]
    assert rows[1]["quality"] == "the same picture" and rows[2]["quality"] == "63.0 dB"
    text = "\n".join(packed.markdown(FACTS, 1))
    assert "| **auto** | 600,000 | 9 % | 41.2 dB |" in text


def test_the_plot_is_svg_with_a_point_for_each_measured_row():
    root = ElementTree.fromstring(packed.plot(FACTS))
    circles = [element for element in root if element.tag == "circle"]
    assert len(circles) == 3
    places = {int(float(circle.get("cx"))): float(circle.get("cy")) for circle in circles}
    assert places[min(places)] > places[max(places)]
    assert "auto 600.0 KB" in "".join(root.itertext()) and "int8 1.50 MB" in "".join(root.itertext())


def test_without_measurements_there_is_no_plot():
    assert packed.plot({**FACTS, "psnr": None, "measured": {}, "table": []}) == ""
