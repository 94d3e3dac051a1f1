"""The parts of the README that come from somewhere else: from the code, and from what was measured.

    python3 -m docs.tables

Each stands between two comments, `<!-- NAME: begin -->` and `<!-- NAME: end -->`, and a test keeps
it equal to its source.
"""

from __future__ import annotations

from pathlib import Path

from tcp_trace.connects.reasons import Reason
from tcp_trace.settings.variables import markdown_table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks/RESULTS.md"

_SHOWN_FIGURES = ("CPU, 50,000 successful", "resident, MB", "lost", "false alarms")
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
    """Return how the benchmark was made, its main figures, and what was wanted of them."""
    if not RESULTS.exists():
        return _NOT_MEASURED
    head, *sections = RESULTS.read_text().split("\n## ")
    named = dict(section.split("\n", 1) for section in sections)
    introduction = head.split("\n", 1)[1].strip()
    figures = _columns(named["Figures"], _SHOWN_FIGURES)
    wanted = "\n".join(_rows(named["Wanted and measured"]))
    more = "All figures, and how they are counted: [benchmarks/RESULTS.md](benchmarks/RESULTS.md)."
    return f"{introduction}\n\n{figures}\n\nWhat was wanted:\n\n{wanted}\n\n{more}\n"


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def _columns(text: str, wanted: tuple[str, ...]) -> str:
    """Return a Markdown table's first column and the wanted ones: a phone is not wide."""
    table = [[cell.strip() for cell in row.strip("|").split("|")] for row in _rows(text)]
    kept = [0, *(table[0].index(name) for name in wanted)]
    return "\n".join("| " + " | ".join(row[i] for i in kept) + " |" for row in table)


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
