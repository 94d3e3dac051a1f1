"""Every failure with its true reason, once, and nothing else: the matrix."""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.connects.reasons import Reason
from tcp_trace.host import netns
from tests.kernel import accuracy, cases, witness
from tests.kernel.rows import LOST_RACE
from tests.kernel.ways import TIMES

if TYPE_CHECKING:
    from tests.kernel.rows import Row

ROWS = cases.build()
RUNS = 4
_NO_RETURNS = "why is only in what connect() returns, and this kernel lets no program watch that"


class Matrix:
    """The rows after they ran, and what the service told of each."""

    def __init__(self, hook: str) -> None:
        self.rows = cases.build()
        with (
            sandbox.network(cases.SERVER_FIREWALL) as network,
            sandbox.service(HOOK=hook, ALERT_INTERVAL="1h") as service,
            witness.watching() as seen,
        ):
            cases.prepare(network)
            self.has_returns = "no_returns" not in service.find("watching")[0]
            cases.connect_all(network, self.rows)
            expected = sum(
                row.truth.total() + len(row.late) for row in self.rows if not self.cannot_tell(row)
            )
            service.wait_for(lambda: len(_told(service)) >= expected, 60)
            self.kept_back = seen.kept_back()
            service.stop()
        ports = {row.port for row in self.rows}
        late = {(row.port, lport) for row in self.rows for lport in row.late}
        every = [line for line in _told(service) if line["dport"] in ports]
        ends = Counter((line["dport"], line["lport"]) for line in every)
        self.late = {end: ends[end] for end in late}
        lines = [line for line in every if (line["dport"], line["lport"]) not in late]
        self.told = Counter((line["dport"], _name_of(line)) for line in lines)
        self.makers = {(line["dport"], line["pid"], line["comm"]) for line in lines}
        failures = [line for line in lines if line["message"] == "connect failed"]
        self.syns = {(line["dport"], line["syns"]) for line in failures}
        self.others = [line for line in _told(service) if line["dport"] not in ports]
        (self.tallies,) = service.find("stopped")

    def cannot_tell(self, row: Row) -> str:
        """Return why this kernel cannot tell a row, nothing where it can."""
        if row.needs_returns and not self.has_returns:
            return _NO_RETURNS
        return row.cannot or row.lacks

    def result_of(self, row: Row) -> accuracy.Result:
        """Return a row as it is published."""
        truth, told = (dict(sorted(counts.items())) for counts in (row.truth, self.told_of(row)))
        return accuracy.Result(
            row.case, row.family, row.waiting, len(row.seen), truth, told, self.cannot_tell(row)
        )

    def told_of(self, row: Row) -> Counter[str]:
        """Return what was told of a row's port."""
        return Counter({name: n for (port, name), n in self.told.items() if port == row.port})


def _told(service: sandbox.Service) -> list[dict[str, Any]]:
    """Return the lines that tell of a connect, those about the host's own namespace left out."""
    lines = service.find("connect failed") + service.find("connect lost a race")
    return [line for line in lines if line["netns"] != netns.own()]


def _name_of(line: dict[str, Any]) -> str:
    if line["message"] != "connect failed":
        return LOST_RACE
    is_other = line["reason"] == Reason.OTHER.value
    return f"{line['reason']}: {line['errno']}" if is_other else str(line["reason"])


@pytest.fixture(scope="module")
def matrix(hook: str) -> Matrix:
    """Run the matrix under each hook; anew while the kernel kept something from BPF programs."""
    for _ in range(RUNS):
        matrix = Matrix(hook)
        if not matrix.kept_back:
            return matrix
    raise AssertionError(f"this kernel kept transitions from BPF programs in each of {RUNS} runs")


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[str(row) for row in ROWS])
def test_row(matrix: Matrix, number: int) -> None:
    """What is told of a row is what its application saw."""
    row = matrix.rows[number]
    if row.lacks:
        assert not row.seen
        return
    assert len(row.seen) >= TIMES
    assert set(row.seen) <= set(row.ends)
    if row.cannot:
        assert matrix.told_of(row) == Counter()
    elif matrix.cannot_tell(row):
        assert matrix.told_of(row) == row.without_returns
    else:
        assert matrix.told_of(row) == row.truth


def test_what_was_late_is_told_once(matrix: Matrix) -> None:
    """A race whose loser the application closed late is told, as a failure or as lost."""
    assert matrix.late == dict.fromkeys(matrix.late, 1)


def test_makers(matrix: Matrix) -> None:
    """The process that is told is the one that connected, in every row; it is never unknown.

    Its name is that of the process, whichever thread of it connected, or worker of io_uring.
    """
    ours = {row.port for row in matrix.rows if row.by_this_process}
    comm = Path("/proc/self/comm").read_text().rstrip()
    made = {(pid, name) for port, pid, name in matrix.makers if port in ours}
    assert made == {(os.getpid(), comm)}
    others = {pid for port, pid, _ in matrix.makers if port not in ours}
    assert others
    assert not others & {None, os.getpid()}


def test_syns(matrix: Matrix) -> None:
    """No SYN is told where connect() or the first write gave up, and one or more in all others."""
    unsent = {row.port for row in matrix.rows if row.unsent}
    assert {syns for port, syns in matrix.syns if port in unsent} == {0}
    gave_up_first = {row.port for row in matrix.rows if row.needs_returns}
    others = {syns for port, syns in matrix.syns if port not in unsent | gave_up_first}
    assert min(others) == 1


def test_nothing_else_is_told(matrix: Matrix) -> None:
    """Nothing of the listeners, of what they accept, nor of anything beside the rows."""
    assert matrix.others == []


def test_the_results_are_written(matrix: Matrix, hook: str) -> None:
    """Where asked to, the matrix is written down for docs/ACCURACY.md."""
    directory = os.environ.get("TCP_TRACE_ACCURACY")
    results = [matrix.result_of(row) for row in matrix.rows]
    run = accuracy.Run(platform.release(), hook, accuracy.today(), results)
    assert accuracy.page([run], [])
    if directory:
        accuracy.save(Path(directory), run)


def test_nothing_was_lost(matrix: Matrix) -> None:
    """No record was lost, and no transition was missed by both hook and net."""
    tallies = {name: matrix.tallies[name] for name in ("lost", "missed", "evicted")}
    assert tallies == {"lost": 0, "missed": 0, "evicted": 0}
