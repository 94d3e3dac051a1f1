"""Lines of the log that say the same: some are written, the rest is one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.events import Failure, Process
from tcp_trace.connects.reasons import Reason
from tcp_trace.log.repeats import INTERVAL, LINES, Repeats
from tests.unit.incidents.incident_world import PSQL, destination


def failure(
    number: int = 0, process: Process | None = PSQL, reason: Reason = Reason.REFUSED, times: int = 1
) -> Failure:
    """Return a failed attempt."""
    return Failure(destination(number), reason, 111, 40_000, process, 0.1, 1, 0.0, 0.0, times=times)


def test_the_first_are_written_and_the_rest_is_one_line() -> None:
    """Beyond 100 in 10 s there is one line with their number, and the details of the last."""
    repeats = Repeats()
    last = PSQL._replace(pid=2)
    written = [line for _ in range(LINES + 22) for line in repeats.take(failure(), 0.0)]
    written += repeats.take(failure(process=last), 1.0)
    assert [line.times for line in written] == [1] * LINES
    assert repeats.next_deadline() == INTERVAL
    assert repeats.due(INTERVAL - 0.1) == []
    (summary,) = repeats.due(INTERVAL)
    assert (summary.times, summary.process) == (23, last)
    assert repeats.next_deadline() is None
    assert repeats.take(failure(), INTERVAL) == [failure()]


def test_what_says_something_else_has_lines_of_its_own() -> None:
    """Another destination, reason or program is not the same; another pid of it is."""
    repeats = Repeats()
    for _ in range(LINES + 1):
        repeats.take(failure(), 0.0)
    others = [
        failure(1),
        failure(reason=Reason.TIMED_OUT),
        failure(process=PSQL._replace(uid=33)),
        failure(process=PSQL._replace(comm="gunicorn")),
        failure(process=None),
    ]
    for other in others:
        assert repeats.take(other, 0.0) == [other]
    assert repeats.take(failure(process=PSQL._replace(pid=9)), 0.0) == []


def test_memory_is_bounded() -> None:
    """Of too many kinds the oldest is written early; none is lost."""
    repeats = Repeats()
    written = 0
    for number in range(20_000):
        for _ in range(2):
            written += sum(line.times for line in repeats.take(failure(number), 0.0))
    assert len(repeats._runs) <= 4_096
    assert written == 40_000


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, 1, 500]), st.sampled_from([0, 0, 0.5, 11]))
    )
)
def test_the_times_add_up(history: list[tuple[int, int, float]]) -> None:
    """Whatever comes when, the lines stand for every failure once."""
    repeats, now, written = Repeats(), 0.0, 0
    for number, times, wait in history:
        now += wait
        written += sum(line.times for line in repeats.take(failure(number, times=times), now))
        written += sum(line.times for line in repeats.due(now))
    written += sum(line.times for line in repeats.flush())
    assert written == sum(times for _, times, _ in history)
    assert repeats.next_deadline() is None
