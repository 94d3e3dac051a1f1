"""What waits is noted once, and what was told before it was kept is never kept."""

from __future__ import annotations

from tcp_trace.connects.events import Destination, Failure
from tcp_trace.connects.reasons import Reason
from tcp_trace.connects.waiting import Waiting, is_counted

FAILURE = Failure(Destination("192.0.2.1", 80), Reason.REFUSED, 111, 1, None, 0.1, 1, 0.0, 0.0)


def test_what_is_kept_and_told() -> None:
    """It is kept under a key of its own, and removed when it was told."""
    waiting = Waiting(1_000)
    first, second = waiting.keep(FAILURE), waiting.keep(FAILURE, counted=True)
    assert (is_counted(first), is_counted(second)) == (False, True)
    assert min(first, second) >= 1_000
    assert waiting.changes() == {first: FAILURE, second: FAILURE}
    assert waiting.changes() == {}
    waiting.replace(second, FAILURE._replace(times=2))
    waiting.done(first)
    assert waiting.changes() == {first: None, second: FAILURE._replace(times=2)}


def test_what_is_told_at_once_is_not_kept() -> None:
    """Nobody hears of what came and went between two looks, nor twice of its end."""
    waiting = Waiting()
    waiting.done(waiting.keep(FAILURE))
    assert waiting.changes() == {}
    key = waiting.keep(FAILURE)
    waiting.changes()
    waiting.done(key)
    assert waiting.changes() == {key: None}
    waiting.done(key)
    assert waiting.changes() == {}


def test_what_an_earlier_process_kept_is_removed() -> None:
    """Although this one never kept it."""
    waiting = Waiting()
    waiting.adopt([7])
    waiting.done(7)
    assert waiting.changes() == {7: None}
