"""The report as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.report.markdown import quantised_sentence, silence, sizes


def render_html(report: Mapping[str, Any], golden_input: bytes, golden_output: bytes) -> bytes:
    """The report with the golden frame's two pictures (PNG bytes) inside; UTF-8."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        r=report,
        quantised=quantised_sentence(report["against_quantised"]) if "against_quantised" in report else "",
        silence=silence(report["findings"]),
        sizes=sizes(report["model"]),
        operators=sorted({*report["before"]["operators"], *report["model"]["operators"]}),
        pictures=[
            ("what goes in", base64.b64encode(golden_input).decode()),
            ("what the source network makes of it", base64.b64encode(golden_output).decode()),
        ],
    )
    return page.encode()
