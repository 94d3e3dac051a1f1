"""The coverage: what was seen of what the kernel counted, interval by interval."""

from __future__ import annotations

import pytest

from tcp_trace.connects.coverage import TOLERANCE, Begin, Coverage, End, Kernel, Seen, compare

BEGIN = Begin(Seen(100, 10, 5), Kernel(5000, 700, 50, 3))


@pytest.mark.parametrize(
    ("kernel", "seen", "expected"),
    [
        (Kernel(5000, 700, 50, 3), Seen(100, 10, 5), Coverage()),
        (Kernel(5040, 704, 50, 3), Seen(140, 14, 5), Coverage(40, 4)),
        (Kernel(5040, 704, 50, 3), Seen(130, 13, 5), Coverage(40, 4, 10, 1)),
        (Kernel(5040, 704, 50, 3), Seen(150, 19, 5), Coverage(40, 4)),
        (Kernel(5040, 734, 80, 3), Seen(140, 14, 5), Coverage(40, 4)),
        (Kernel(5040, 734, 80, 3), Seen(140, 10, 5), Coverage(40, 4, 0, 4)),
        (Kernel(5040, 744, 50, 3), Seen(140, 14, 45), Coverage(40, 4)),
        (Kernel(5040, 744, 50, 3), Seen(140, 10, 45), Coverage(40, 4, 0, 4)),
        (Kernel(5040, 704, 60, 3), Seen(140, 10, 5), Coverage(40, 0)),
        (Kernel(5040, 800, 50, 9), Seen(130, 10, 5), Coverage(40, 0, 10, 0)),
    ],
    ids=[
        "nothing yet",
        "all",
        "a gap",
        "seen and not counted",
        "a peer reset handshakes of others",
        "it does not hide a gap",
        "handshakes of Fast Open failed",
        "they do not hide a gap",
        "read in between",
        "it cannot be told whose failures they are",
    ],
)
def test_an_interval(kernel: Kernel, seen: Seen, expected: Coverage) -> None:
    """What was counted since the beginning, and what of that was not seen."""
    assert compare(BEGIN, End(kernel, seen)) == expected


def test_a_surplus_makes_up_for_no_gap() -> None:
    """Of two intervals each is compared for itself: 200 seen too many do not hide 200 unseen."""
    surplus = compare(Begin(Seen(0, 0, 0), Kernel(0, 0, 0)), End(Kernel(0, 0, 0), Seen(200, 0, 0)))
    gap = compare(Begin(Seen(200, 0, 0), Kernel(0, 0, 0)), End(Kernel(200, 0, 0), Seen(200, 0, 0)))
    both = surplus.and_then(gap)
    assert both == Coverage(200, 0, 200, 0)
    assert both.shares() == {"attempts": 0.0, "failures": None}


def test_connects_under_way_are_a_doubt() -> None:
    """A few unseen may have been under way while the counters were read; more are unseen."""
    assert Coverage(9, 9).is_certain
    assert not Coverage(9, 9, unseen_attempts=1).is_certain
    assert not Coverage(9, 9, TOLERANCE, TOLERANCE).is_certain
    assert Coverage(9, 9, unseen_failures=TOLERANCE + 1).is_certain
    assert not Coverage(9, 9, unseen_failures=1).is_complete
