"""The parts of the README that come from somewhere else: from the code, and from what was measured.

    python3 -m docs.tables

Each stands between two comments, `<!-- NAME: begin -->` and `<!-- NAME: end -->`, and a test keeps
it equal to its source.
"""

from __future__ import annotations

import re
from pathlib import Path

from tcp_trace.core.reasons import Reason
from tcp_trace.variables import markdown_table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks/RESULTS.md"

_NOT_MEASURED = """\
`make bench` measures it in a virtual machine, beside BCC's tools and the plain design, and writes
`benchmarks/RESULTS.md`.
"""


def reasons() -> str:
    """Return the table of reasons."""
    rows = ["| reason | what it means | check first |", "|---|---|---|"]
    rows += [f"| `{r.value}` | {r.summary} | {r.check_first} |" for r in Reason]
    return "\n".join(rows) + "\n"


def cost() -> str:
    """Return the tables of the benchmark's results with the line that says how they came about."""
    if not RESULTS.exists():
        return _NOT_MEASURED
    told = RESULTS.read_text().split("\n", 1)[1].strip()
    body = re.sub(r"^#+ ", "#### ", told, flags=re.MULTILINE)
    return f"{body}\n\nFrom [benchmarks/RESULTS.md](benchmarks/RESULTS.md), by `make bench`.\n"


PARTS = {"variables": markdown_table, "reasons": reasons, "cost": cost}


def filled(text: str) -> str:
    """Return the README's text with every part as its source says it."""
    for name, source in PARTS.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, also_found, after = rest.partition(end)
        if not (found and also_found):
            raise ValueError(f"README.md lacks the comments around its part '{name}'")
        text = f"{before}{begin}\n{source()}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
