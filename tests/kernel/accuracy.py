"""What was told of the matrix, and the page that publishes it.

    TCP_TRACE_ACCURACY=DIR python3 -m pytest tests/kernel/test_accuracy.py tests/kernel/test_soak.py
    python3 -m tests.kernel.accuracy DIR > docs/ACCURACY.md

The first leaves one file per test, kernel and hook in DIR, the second makes the page of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcp_trace.connects.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

NONE = "none"
"""In place of a reason: the connect succeeded, or nothing was told."""


@dataclass(frozen=True)
class Result:
    """One row of the matrix: failures by reason as the applications saw them, and as told."""

    case: str
    family: str
    waiting: str
    connects: int
    truth: dict[str, int]
    told: dict[str, int]
    cannot_tell: str


@dataclass(frozen=True)
class Run:
    """The matrix under one hook of one kernel."""

    kernel: str
    hook: str
    day: str
    results: list[Result]


@dataclass(frozen=True)
class Soak:
    """Many connects of which the test found none missed, none told that did not fail, none lost."""

    kernel: str
    hook: str
    day: str
    cpus: int
    seconds: float
    connects: int
    failures: int
    resident_before_kb: int
    resident_after_kb: int


def today() -> str:
    """Return the date, in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def save(directory: Path, run: Run | Soak) -> None:
    """Write one run, or one soak, to a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = "matrix" if isinstance(run, Run) else "soak"
    name = f"{kind}-{run.kernel}-{run.hook}.json"
    directory.joinpath(name).write_text(json.dumps(asdict(run), indent=1) + "\n")


def load(directory: Path) -> list[Run]:
    """Return the runs of a directory, by kernel and hook."""
    runs = []
    for data in _read(directory, "matrix"):
        data["results"] = [Result(**result) for result in data["results"]]
        runs.append(Run(**data))
    return runs


def load_soaks(directory: Path) -> list[Soak]:
    """Return the soaks of a directory, by kernel and hook."""
    return [Soak(**data) for data in _read(directory, "soak")]


def _read(directory: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in directory.glob(f"{kind}-*.json")]
    return sorted(found, key=_by_kernel)


def _by_kernel(run: dict[str, Any]) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", run["kernel"])], run["hook"]


def page(runs: list[Run], soaks: list[Soak]) -> str:
    """Return the page: precision and recall per reason, the soaks, then every row."""
    parts = [_HEAD]
    for run in runs:
        parts += [f"\n## Kernel {run.kernel}, {run.hook} ({run.day})\n", _per_reason(run.results)]
        if any(result.cannot_tell for result in run.results):
            parts.append(_blind(run.results))
    if soaks:
        parts += [_SOAK, *(_soaked(soak) for soak in soaks)]
    parts += [_EVERY_ROW, _rows(runs)]
    return "\n".join(parts)


def _per_reason(results: Iterable[Result]) -> str:
    right, told, true = Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        if result.cannot_tell:
            continue
        told.update(result.told)
        true.update(result.truth)
        right.update(Counter(result.told) & Counter(result.truth))
    lines = ["| reason | failures | told | precision | recall |", "|---|---|---|---|---|"]
    for name in _in_order(true | told):
        precision = right[name] / told[name] if told[name] else 0.0
        recall = right[name] / true[name] if true[name] else 0.0
        lines.append(f"| {name} | {true[name]} | {told[name]} | {precision:.3f} | {recall:.3f} |")
    return "\n".join(lines)


def _in_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of the reasons, `other: ERRNO` as `other`; then any others."""
    order = [reason.value for reason in Reason]
    places = {name: name.partition(":")[0] for name in names}
    return sorted(places, key=lambda name: [*order, places[name]].index(places[name]))


def _blind(results: list[Result]) -> str:
    """Return the rows that are not in the table, with why; those of a case in one line."""
    lines = ["\nNot in this table, since this kernel cannot tell them:\n"]
    cases = Counter((result.case, result.cannot_tell) for result in results if result.cannot_tell)
    lines += [f"- {case} (rows: {number}): {why}" for (case, why), number in cases.items()]
    return "\n".join(lines)


def _rows(runs: list[Run]) -> str:
    names = [f"{run.kernel.split('-')[0]} {run.hook}" for run in runs]
    lines = ["| case | address | waiting | " + " | ".join(names) + " |"]
    lines.append("|---" * (3 + len(runs)) + "|")
    of_runs = [{(r.case, r.family, r.waiting): r for r in run.results} for run in runs]
    for row in dict.fromkeys(row for results in of_runs for row in results):
        cells = [_verdict(results.get(row)) for results in of_runs]
        lines.append(f"| {' | '.join((*row, *cells))} |")
    return "\n".join(lines) + "\n"


def _soaked(soak: Soak) -> str:
    memory = f"{soak.resident_before_kb:,} → {soak.resident_after_kb:,} kB"
    return (
        f"| {soak.kernel}, {soak.hook} ({soak.day}) | {soak.cpus} | {soak.seconds:,.0f} s "
        f"| {soak.connects:,} | {soak.failures:,} | 0 | 0 | 0 | {memory} |"
    )


def _verdict(result: Result | None) -> str:
    if result is None:
        return "not run"
    if result.cannot_tell:
        return "cannot tell"
    truth = _counts(result.truth)
    return truth if result.told == result.truth else f"{truth}, told {_counts(result.told)}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "no failure"


_SOAK = """
## Many connects

Written by `make soak`: connects over IPv4, IPv6 and v4-mapped, as fast as each CPU makes them, with
the traffic of another connection beside them. One in a hundred fails: given up, refused, by turns.
A tenth more came before, to warm up; memory is what the service has resident then, and at the end.
Where a zero is none, the test fails and writes nothing.

| kernel, hook | CPUs | took | connects | failed | missed | false alarms | lost records | memory |
|---|---|---|---|---|---|---|---|---|"""

_EVERY_ROW = """
## Every row

A cell is what the application saw, and what was told where that is something else.
"""

_HEAD = """\
# Accuracy

Written by the tests (`make accuracy`): every row is 23 connects (or a multiple, where the way to
connect makes more) with a known end. The truth is what the connecting application saw itself; what
the service told, by its log, is held against it. A failure that is told twice, or of a connect that
succeeded, counts against the precision; one that is not told, against the recall. `lost_race` is no
reason: such a connect is counted and not told as a failure."""


def main() -> None:
    """Print the page of a directory's runs."""
    directory = Path(sys.argv[1])
    sys.stdout.write(page(load(directory), load_soaks(directory)))


if __name__ == "__main__":
    main()
