"""One connect is one failure, in whatever order its two records arrive."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.events import RETURNED, Destination, Failure, Process, State, Transition
from tcp_trace.connects.reasons import Reason
from tcp_trace.connects.returns import HOLD, Returns
from tcp_trace.connects.tracker import Tracker


def record(cpu: int, start_ns: int, newstate: int, error: int = 0) -> Transition:
    """Return the end of an attempt, or what connect() returned of it."""
    return Transition(
        start_cpu=cpu,
        start_ns=start_ns,
        timestamp_ns=start_ns + 1000,
        wall=0.0,
        oldstate=State.SYN_SENT,
        newstate=newstate,
        destination=Destination("192.0.2.1", 80),
        local_address="192.0.2.2",
        local_port=0 if newstate == RETURNED else 4000,
        process=Process(1, "app", 0, 1, 1),
        errno=error,
        soft_errno=0,
        syns=0,
        may_return=newstate == State.CLOSE,
    )


def feed(returns: Returns, records: list[Transition], now: float) -> list[Failure]:
    """Return the failures that are told at once."""
    told: list[Failure | None] = []
    for one in records:
        if one.newstate == RETURNED:
            told.append(returns.returned(one, now))
        else:
            outcome = Tracker().judge(one)
            assert isinstance(outcome, Failure)
            told.append(returns.failed(outcome, one, now))
    return [failure for failure in told if failure is not None]


attempts = st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=8)


@given(attempts, st.randoms(use_true_random=False), st.data())
def test_one_connect_is_one_failure(
    kinds: list[tuple[int, bool]], random: object, data: st.DataObject
) -> None:
    """Every attempt that was closed is told once, with the error of its connect() if it had one."""
    records: list[Transition] = []
    for number, (cpu, has_error) in enumerate(kinds, 1):
        records.append(record(cpu, number, State.CLOSE))
        if has_error:
            records.append(record(cpu, number, RETURNED, errno.EADDRNOTAVAIL))
    random.shuffle(records)  # type: ignore[attr-defined]
    cut = data.draw(st.integers(0, len(records)))
    returns = Returns()
    told = feed(returns, records[:cut], 0.0) + feed(returns, records[cut:], HOLD / 2)
    assert returns.expire(HOLD / 2) == []
    told += returns.expire(2 * HOLD)
    assert returns.next_deadline() is None
    expected = [Reason.NO_LOCAL_PORT if has_error else Reason.OTHER for _, has_error in kinds]
    assert sorted(f.reason.value for f in told) == sorted(r.value for r in expected)


def test_an_error_without_an_attempt_is_told_at_once() -> None:
    """A connect() that sent nothing is one failure, with no SYN."""
    (failure,) = feed(Returns(), [record(1, 0, RETURNED, errno.ENETUNREACH)], 0.0)
    assert failure.reason is Reason.NETWORK_UNREACHABLE
    assert failure.syns == 0


def test_a_missed_return_costs_the_error_only() -> None:
    """Where the return is missed, the failure is told after a moment; where the end is, so too."""
    returns = Returns()
    assert feed(returns, [record(1, 7, State.CLOSE)], 0.0) == []
    assert returns.next_deadline() == HOLD
    (failure,) = returns.expire(HOLD)
    assert failure.reason is Reason.OTHER
    assert feed(returns, [record(1, 8, RETURNED, errno.EADDRNOTAVAIL)], 1.0) == []
    (failure,) = returns.expire(1.0 + 2 * HOLD)
    assert failure.reason is Reason.NO_LOCAL_PORT
