"""How fast a sender goes, and how long it waits."""

from __future__ import annotations

import pytest

from tcp_trace.notify.pacing import Backoff, Bucket, Pacing


def test_a_burst_passes_and_then_one_a_second() -> None:
    """Three messages leave at once, and each further one a second later."""
    bucket, now, left_at = Bucket(rate=1.0, burst=3, now=0.0), 0.0, []
    for _ in range(6):
        now += bucket.wait(now)
        bucket.take(now)
        left_at.append(now)
    assert left_at == pytest.approx([0, 0, 0, 1, 2, 3])


def test_a_pause_refills_the_burst_and_no_more() -> None:
    """However long nothing was sent, no more than a burst is saved up."""
    bucket = Bucket(rate=1.0, burst=3, now=0.0)
    for _ in range(3):
        bucket.take(1_000.0)
    assert bucket.wait(1_000.0) == pytest.approx(1.0)


def test_backoff_grows_to_its_limit_and_never_overflows() -> None:
    """Each failure in a row may wait twice as long as the one before, up to five minutes."""
    pacing = Pacing()
    for failures in (1, 4, 9, 5_000):
        waits = []
        for _ in range(200 if failures < 5_000 else 1):
            backoff = Backoff(pacing)
            for _ in range(failures - 1):
                backoff.next(None)
            waits.append(backoff.next(None))
        ceiling = min(300.0, 2.0 ** min(failures - 1, 10))
        assert all(1.0 <= wait <= max(1.0, ceiling) for wait in waits)
        if 1 < failures < 5_000:
            assert max(waits) > 0.8 * ceiling  # it reaches up there
            assert min(waits) < 0.2 * ceiling + 1.0  # and is spread: full jitter


def test_a_reset_starts_over() -> None:
    """After an answer the next failure waits as little as the first."""
    backoff = Backoff(Pacing())
    for _ in range(20):
        backoff.next(None)
    backoff.reset()
    assert backoff.next(None) == 1.0


def test_what_the_other_side_asks_for_is_kept() -> None:
    """Retry-After is waited for in full, and spread by up to a second."""
    waits = [Backoff(Pacing()).next(60.0) for _ in range(50)]
    assert all(60.0 <= wait <= 61.0 for wait in waits)
    assert len(set(waits)) > 1


def test_a_retry_after_of_nothing_is_no_leave_to_hammer() -> None:
    """With Retry-After: 0 the waits still grow."""
    backoff = Backoff(Pacing())
    waits = [backoff.next(0.0) for _ in range(40)]
    assert max(waits) > 10.0
