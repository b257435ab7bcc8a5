"""Reads damaged files of every format for as long as it is told to, and counts how that ends.

    python benchmarks/fuzz_readers.py --minutes 10 --seed 1 [--write]

Each file must be read or refused by one error of one line, within seconds and within its budget of memory; nothing
that is planted in the files may run. `--write` puts the counts into docs/security.md. Exit code 1 for whatever
else a reader does; the input is then kept in `fuzz-failures/`.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from tests.sources.mutants import PLANTED, attempt, mutated, seeds

APART = ("keras",)
"""Kinds whose reader starts a process: one input in forty is of them."""
SLOWEST = 10.0
"""Processor seconds for one file."""
MEMORY = 8 << 30
"""Address space of this process, torch included."""
DOCS = Path(__file__).resolve().parents[1] / "docs" / "security.md"
START, END = "<!-- counts: made by benchmarks/fuzz_readers.py -->", "<!-- end of counts -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the counts into docs/security.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    failures = Path("fuzz-failures").absolute()
    counts: dict[str, Counter[str]] = {}
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        honest = seeds(Path(folder))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
        chance = random.Random(arguments.seed)
        end = time.monotonic() + 60 * arguments.minutes
        slowest = 0.0
        while time.monotonic() < end:
            kind = chance.choice(list(honest))
            if kind in APART and chance.random() > 0.25:
                continue
            suffix, seed = honest[kind]
            path = Path(folder) / f"a{suffix}"
            content = mutated(seed, chance)
            path.write_bytes(content)
            start = time.process_time()
            try:
                outcome = attempt(kind, path, whole=chance.random() < 0.02)
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"[:100]
                broken += 1
                failures.mkdir(exist_ok=True)
                (failures / f"{broken}{suffix}").write_bytes(content)
                print(f"{kind}: {outcome}")
            slowest = max(slowest, time.process_time() - start)
            counts.setdefault(kind, Counter())[outcome] += 1
            if Path(PLANTED).exists():
                raise SystemExit(f"{kind}: what was planted has run")
        os.chdir(failures.parent)
    lines = table(counts, arguments.seed, slowest)
    print("\n".join(lines))
    if arguments.write:
        text = DOCS.read_text()
        head, _, rest = text.partition(START)
        _, _, tail = rest.partition(END)
        DOCS.write_text(f"{head}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")
    return 1 if broken or slowest > SLOWEST else 0


def table(counts: dict[str, Counter[str]], seed: int, slowest: float) -> list[str]:
    """The counts as Markdown."""
    total = sum(sum(item.values()) for item in counts.values())
    lines = [
        f"{total:,} damaged files (seed {seed}); the slowest took {slowest:.1f} s of processor time, none did "
        "anything else than being read or refused.",
        "",
        "| format | files | still read | refused, by code |",
        "|---|---:|---:|---|",
    ]
    for kind, item in sorted(counts.items()):
        codes = ", ".join(f"`{code}` {count:,}" for code, count in item.most_common() if code != "read")
        lines.append(f"| {kind} | {sum(item.values()):,} | {item['read']:,} | {codes} |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
