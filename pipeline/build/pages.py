"""Generates the table in docs/configuration.md and the types of the keywords from the declared options.

python -m pipeline.build.pages          # write both
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.build.options import KINDS, all_options

BEGIN, END = "<!-- options: made by `python -m pipeline.build.pages` -->", "<!-- end of options -->"


def options_table() -> str:
    """Every key of pipeline.toml: the sections that accept it, and its meaning."""
    lines = ["| key | where | value | meaning |", "|---|---|---|---|"]
    lines.append('| `source` | model | `"..."` | the checkpoint or model; required |')
    for option in all_options():
        if option.declaration.config:
            value = KINDS[option.item].example
            where = "both" if option.declaration.config == "both" else "model"
            meaning = option.declaration.help.rstrip(".")
            default = f"; default `{option.default}`" if option.default not in (None, (), False) else ""
            shown = f"[{value}]" if option.repeated else value
            lines.append(f"| `{option.key}` | {where} | `{shown}` | {meaning}{default} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """docs/configuration.md with its table regenerated."""
    table = f"{BEGIN}\n\n{options_table()}\n\n{END}"
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: table, page, flags=re.DOTALL)


def keywords() -> str:
    """The module `pipeline.build.keywords`: what editors and type checkers know of the functions' keywords."""
    lines = [
        '"""The keywords of the functions that Python calls, for editors and type checkers.',
        "",
        "Made by `python -m pipeline.build.pages` from pipeline/build/options.py: change that, not this.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Sequence",
        "from pathlib import Path",
        "from typing import TypedDict",
        "",
        "from pipeline.support.size import Size",
    ]
    both = [option for option in all_options() if "convert" in option.declaration.commands]
    more = [option for option in all_options() if option not in both]
    reads = [option for option in both if option.declaration.reads]
    for name, base, summary, options in (
        ("ReadKeywords", "TypedDict", "How a model file is read", reads),
        ("ConvertKeywords", "ReadKeywords", "Options of `pipeline convert`", [h for h in both if h not in reads]),
        ("BuildKeywords", "ConvertKeywords", "Options of `pipeline build-unity`", more),
    ):
        lines += ["", "", f"class {name}({base}, total=False):", f'    """{summary}."""', ""]
        lines += [f"    {option.name}: {option.annotation}" for option in options]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    place = root / "docs" / "configuration.md"
    place.write_text(with_table(place.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    Path(__file__).with_name("keywords.py").write_text(keywords(), encoding="utf-8", newline="\n")
