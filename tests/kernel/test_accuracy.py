"""Every failure with its true reason, once, and nothing else: the matrix."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace import sandbox
from tcp_trace.core.reasons import Reason
from tests.kernel import accuracy, cases, witness

if TYPE_CHECKING:
    from tests.kernel.cases import Row

ROWS = cases.build()
RUNS = 4
_NO_RETURNS = "connect() fails before any SYN, and this kernel lets no program watch it returning"


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
            expected = sum(sum(row.truth.values()) for row in self.rows)
            service.wait_for(lambda: len(self._failures(service)) >= expected, 10)
            self.kept_back = seen.kept_back()
            service.stop()
            self.told = Counter(
                (line["dport"], Reason(line["reason"])) for line in self._failures(service)
            )
            self.pids = {line["pid"] for line in self._failures(service)}
            (self.tallies,) = service.find("stopped")

    def _failures(self, service: sandbox.Service) -> list[dict[str, object]]:
        ports = {row.port for row in self.rows}
        return [line for line in service.find("connect failed") if line["dport"] in ports]

    def cannot_tell(self, row: Row) -> str:
        """Return why this kernel cannot tell a row, nothing where it can."""
        return _NO_RETURNS if row.needs_returns and not self.has_returns else ""

    def result_of(self, row: Row) -> accuracy.Result:
        """Return a row as it is published."""
        truth, told = (
            {reason.value: number for reason, number in sorted(counts.items(), key=str)}
            for counts in (row.truth, self.told_of(row))
        )
        return accuracy.Result(
            row.case, row.family, row.waiting, len(row.seen), truth, told, self.cannot_tell(row)
        )

    def told_of(self, row: Row) -> Counter[Reason]:
        """Return what was told of a row's port."""
        return Counter({reason: n for (port, reason), n in self.told.items() if port == row.port})


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
    assert len(row.seen) == cases.TIMES
    if matrix.cannot_tell(row):
        assert matrix.told_of(row) == Counter()
    else:
        assert matrix.told_of(row) == row.truth


def test_the_results_are_written(matrix: Matrix, hook: str) -> None:
    """Where asked to, the matrix is written down for docs/ACCURACY.md."""
    directory = os.environ.get("TCP_TRACE_ACCURACY")
    results = [matrix.result_of(row) for row in matrix.rows]
    assert accuracy.page([accuracy.Run("6.1-test", hook, "today", results)])
    if directory:
        accuracy.save(Path(directory), hook, results)


def test_nothing_was_lost(matrix: Matrix) -> None:
    """No record was lost, and no transition was missed by both hook and net."""
    tallies = {name: matrix.tallies[name] for name in ("lost", "missed", "evicted")}
    assert tallies == {"lost": 0, "missed": 0, "evicted": 0}
    assert os.getpid() in matrix.pids
    assert None not in matrix.pids
