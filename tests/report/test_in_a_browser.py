"""The pages in a real browser, without a network: nothing is missing or overflows, light and dark both read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dev import BROWSERS
from pipeline.bench.job import BenchOptions, bench
from pipeline.build.job import build_unity
from pipeline.report.bench import render_html
from pipeline.support.size import Size
from tests.networks import style_checkpoint

SCHEMES = {"dark": 0, "light": 1}
PROBE = """<script>
window.addEventListener("load", () => {
  const pictures = [...document.images];
  const ink = getComputedStyle(document.body);
  document.documentElement.dataset.probe = JSON.stringify({
    wide: document.documentElement.scrollWidth, window: innerWidth,
    pictures: pictures.length, seen: pictures.filter(p => p.complete && p.naturalWidth > 0).length,
    charts: document.querySelectorAll("svg").length, ink: ink.color, paper: ink.backgroundColor,
    headings: document.querySelectorAll("h2").length,
  });
});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The report of a build, and that of a bench."""
    place = tmp_path_factory.mktemp("pages")
    source = style_checkpoint(place / "a_network_of_the_game.pth")
    result = build_unity(source, output=place / "out", use_cache=False)
    report = bench([source], BenchOptions(sizes=(Size(64, 48), Size(96, 64)), runs=2, memory=False))
    (place / "bench.html").write_bytes(render_html(report))
    return {"build": result.bundle / "report.html", "bench": place / "bench.html"}


def browse(page: Path, scheme: str, *arguments: str) -> str:
    """Open a page with no way to any network; what the browser prints."""
    browser = next(found for name in BROWSERS if (found := shutil.which(name)))
    command = (
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={page.parent / 'profile'}",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
    )
    done = subprocess.run([*command, *arguments, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def probe(page: Path, scheme: str, width: int, place: Path) -> dict:
    """What a script in the page finds once all is loaded."""
    probed = place / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    reported = browse(probed, scheme, f"--window-size={width},900", "--dump-dom")
    stored = re.search(r'data-probe="([^"]*)"', reported)
    assert stored, reported[:400]
    return json.loads(stored[1].replace("&quot;", '"'))


@pytest.mark.parametrize(("name", "pictures", "charts"), [("build", 7, 1), ("bench", 0, 1)])
@pytest.mark.parametrize("width", [1280, 420])
def test_everything_is_there_and_fits_the_window(pages, tmp_path, name, pictures, charts, width) -> None:
    seen = probe(pages[name], "light", width, tmp_path)
    assert seen["pictures"] == seen["seen"] == pictures
    assert seen["charts"] == charts and seen["headings"] >= 2
    assert seen["wide"] <= seen["window"]


def luminance(colour: str) -> float:
    red, green, blue = (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_text_and_charts_are_readable_in_light_and_dark(pages, tmp_path, scheme) -> None:
    seen = probe(pages["bench"], scheme, 1280, tmp_path)
    ink, paper = luminance(seen["ink"]), luminance(seen["paper"])
    assert (paper > 0.9 and ink < 0.2) if scheme == "light" else (paper < 0.1 and ink > 0.7)
    shot = tmp_path / "page.png"
    browse(pages["bench"], scheme, "--window-size=1280,1200", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).reshape(-1, 3)
    assert abs(float(pixels[0].mean()) / 255 - paper) < 0.05
    spread = pixels.max(axis=1).astype(int) - pixels.min(axis=1)
    assert (spread > 100).sum() > 500, "no chart in colour"
