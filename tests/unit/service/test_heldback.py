"""When what was held back is looked at, and what is written of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tcp_trace.connects.events import Destination, Failure, Process, State, Transition
from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.probes.connectmaps import Held
from tcp_trace.service.heldback import LINES, LOOK_INTERVAL, HeldBack, to_write

if TYPE_CHECKING:
    from tcp_trace.probes.connectmaps import Maps

_FIRST = Transition(
    1, 0, 2, 0.0, State.SYN_SENT, State.CLOSE, Destination("192.0.2.1", 80), "192.0.2.2", 4000,
    Process(1, "app", 1000, 1, 1), 111, 0, 0,
)  # fmt: skip


class Kernel:
    """What the maps hold, in slots that are over and one that is not."""

    def __init__(self) -> None:
        self.over: dict[bytes, int] = {}
        self.current: dict[bytes, int] = {}
        self.counted = 0
        self.looks = 0

    def add(self, failures: int) -> None:
        """Count failures in the slot that is not over."""
        self.current[b"%d" % self.counted] = failures
        self.counted += failures

    def tally(self, name: str) -> int:
        """Return how many were counted."""
        assert name == "held"
        self.looks += 1
        return self.counted

    def held(self, *, everything: bool = False) -> list[Held]:
        """Return what is over, and let the current slot be over at the next look."""
        shown = {**self.over, **self.current} if everything else dict(self.over)
        if not everything:
            self.over |= self.current
            self.current = {}
        return [Held(_FIRST, failures, 2, key) for key, failures in shown.items()]

    def let_go(self, held: list[Held]) -> None:
        """Remove what was told."""
        for each in held:
            self.over.pop(each.key, None)
            self.current.pop(each.key, None)


def watching() -> tuple[Kernel, HeldBack]:
    """Return maps and who looks into them."""
    kernel = Kernel()
    held_back = HeldBack(cast("Maps", kernel))
    kernel.looks = 0
    return kernel, held_back


def test_nothing_is_looked_at_while_nothing_fails() -> None:
    """An idle service makes no calls for it, and one look after failures that were all told."""
    kernel, held_back = watching()
    assert held_back.next_deadline() is None
    assert held_back.take(100.0) == []
    assert kernel.looks == 0
    held_back.expect(100.0)
    assert held_back.next_deadline() == 100.0 + LOOK_INTERVAL
    assert held_back.take(100.5) == []
    assert kernel.looks == 0
    assert held_back.take(101.0) == []
    assert (kernel.looks, held_back.next_deadline()) == (1, None)


def test_what_is_in_a_slot_that_is_not_over_is_taken_later() -> None:
    """It looks again as long as the kernel has counted more than was taken, and no longer."""
    kernel, held_back = watching()
    held_back.expect(0.0)
    kernel.add(7)
    now, taken = 0.0, 0
    while (deadline := held_back.next_deadline()) is not None:
        now = deadline
        taken += sum(held.failures for held in held_back.take(now))
    assert (taken, now) == (7, 3 * LOOK_INTERVAL)


def test_at_the_end_everything_is_taken() -> None:
    """Also what is in a slot that is not over."""
    kernel, held_back = watching()
    kernel.add(7)
    assert [held.failures for held in held_back.take_all()] == [7]
    assert held_back.take_all() == []


def failure(uid: int, port: int, times: int) -> Failure:
    """Return failures that were held back."""
    where = Destination("192.0.2.1", port)
    process = Process(1, "app", uid, uid, 1)
    return Failure(
        where, Reason.REFUSED, 111, 1, process, 0.1, 1, 0.0, 0.0, Maker(owner=uid), times=times
    )


def test_every_maker_has_a_line_before_a_second_of_any() -> None:
    """Whoever fails at a thousand ports takes nobody's line."""
    found = [failure(1000, port, 500) for port in range(1, 1001)] + [failure(33, 5432, 1)]
    shown, others = to_write(found)
    assert len(shown) == LINES
    assert found[-1] in shown
    assert sum(f.times for f in shown + others) == 500_001
    assert to_write(found[:LINES]) == (found[:LINES], [])


def test_what_is_not_told_is_left_for_the_next_process() -> None:
    """It is taken once, and stays in the kernel's map until it was told."""
    kernel, held_back = watching()
    kernel.add(7)
    (held,) = held_back.take_all()
    kernel.add(2)
    assert [each.failures for each in held_back.take_all()] == [2]
    assert len(kernel.held(everything=True)) == 2
    held_back.told([held])
    following = HeldBack(cast("Maps", kernel))
    assert [each.failures for each in following.take_all()] == [2]
    assert following.take_all() == []
