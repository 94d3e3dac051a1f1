"""The memory: what it learns from the kernel's totals, and how it is bounded."""

from __future__ import annotations

import pytest

from tcp_trace.connects.events import Counters, Moment
from tcp_trace.incidents.memory import MOST, Known, Memory, together
from tests.unit.incidents.incident_world import destination
from tests.unit.incidents.memory_world import DATABASE, EPOCH, SWEEP, Kernel

HOUR, DAY = 3_600.0, 86_400.0
SWEEPS = 144  # a day


def test_what_never_worked_is_not_known() -> None:
    """However often it failed."""
    kernel = Kernel()
    kernel.sweep(bad=23)
    assert kernel.memory.known(DATABASE) is None
    assert len(kernel.memory) == 0


def test_it_is_known_since_when_and_until_when_a_subject_worked() -> None:
    """By the success and not by the sweep; failures move neither."""
    kernel = Kernel()
    kernel.sweep(good=1)
    first = kernel.now.wall
    kernel.sweep(good=1)
    last = kernel.now.wall
    kernel.sweep(bad=7)
    assert kernel.known.since == first
    assert kernel.known.worked == pytest.approx(last)


def test_averages_are_those_of_the_sweeps() -> None:
    """Share, latency and gap, each as it was."""
    kernel = Kernel()
    for _ in range(20):
        kernel.sweep(good=297, bad=3, latency=0.002)
    assert kernel.known.share == pytest.approx(0.01)
    assert kernel.known.latency == pytest.approx(0.002)
    assert kernel.known.gap == pytest.approx(SWEEP / 297)


def test_nothing_is_known_of_a_gap_before_the_second_sample() -> None:
    """Nor of a latency that the kernel does not know."""
    kernel = Kernel()
    kernel.sweep(good=5)
    assert kernel.known[3:] == (None, None)
    kernel.sweep(good=5)
    assert kernel.known.latency is None
    assert kernel.known.gap == pytest.approx(SWEEP / 5)


def test_a_rare_success_has_its_gap_although_most_sweeps_see_none() -> None:
    """An hourly job's is an hour."""
    kernel = Kernel()
    for _ in range(48):
        kernel.sweep(good=1)
        for _ in range(5):
            kernel.sweep()
    assert kernel.known.gap == pytest.approx(HOUR)


@pytest.mark.parametrize("hours", [1, 72])
def test_an_outage_does_not_become_usual(hours: int) -> None:
    """One of three days leaves as much as one of an hour."""
    kernel = Kernel()
    for _ in range(7 * SWEEPS):
        kernel.sweep(good=600)
    for _ in range(hours * 6):
        kernel.sweep(bad=6_000)
    kernel.sweep(good=600)
    assert kernel.known.share < 0.02


def test_what_has_changed_becomes_usual_within_days() -> None:
    """And is not so after some hours."""
    kernel = Kernel()
    for _ in range(30 * SWEEPS):
        kernel.sweep(good=100, latency=0.001)
    for _ in range(6 * 3):
        kernel.sweep(good=80, bad=20, latency=0.1)
    assert kernel.known.share < 0.02
    for _ in range(12 * SWEEPS):
        kernel.sweep(good=80, bad=20, latency=0.1)
    assert kernel.known.share == pytest.approx(0.2, rel=0.05)
    assert kernel.known.latency == pytest.approx(0.1, rel=0.1)


def test_a_syn_that_is_sent_twice_hardly_moves_the_latency() -> None:
    """It takes a second where others take half a millisecond."""
    kernel = Kernel()
    for number in range(100):
        kernel.sweep(good=1, latency=1.0005 if number % 50 == 7 else 0.0005)
    assert kernel.known.latency == pytest.approx(0.0005, rel=0.2)


def test_totals_that_begin_anew_are_counted_from_nothing() -> None:
    """The kernel forgot them, or is another one: the value itself is what was added."""
    kernel = Kernel()
    for _ in range(10):
        kernel.sweep(good=100)
    gap = kernel.known.gap or 0.0
    kernel.counts = Counters(0, 0, 0)
    kernel.sweep(good=30, bad=70)
    assert kernel.known.share == pytest.approx(0.7 / 11)
    assert kernel.known.gap == gap  # some successes were not seen
    kernel.sweep(good=60)
    assert kernel.known.gap == pytest.approx(gap + (SWEEP / 60 - SWEEP / 100) / 12)


def test_totals_that_began_anew_are_known_by_their_failures_too() -> None:
    """Where more have succeeded since than before."""
    kernel = Kernel()
    kernel.sweep(good=10, bad=10)
    kernel.counts = Counters(0, 0, 0)
    kernel.sweep(good=20)
    assert kernel.known.share == pytest.approx(0.5 / 2)
    assert kernel.known.gap is None


def test_failures_between_two_sweeps_belong_to_the_next_success() -> None:
    """A destination that is tried once a sweep fails in as many as it does."""
    kernel = Kernel()
    for _ in range(100):
        kernel.sweep(good=1)
        kernel.sweep(bad=1)
    kernel.sweep(good=1)
    assert kernel.known.share == pytest.approx(0.5, rel=0.02)


def test_a_clock_that_is_set_back_leaves_nothing_in_the_future() -> None:
    """What was noted while it was ahead heals with the next success."""
    kernel = Kernel()
    behind = Moment(2_000.0, EPOCH)
    kernel.memory.take(DATABASE, Counters(3, 0, int(1e12)), Moment(2_000.0, EPOCH + DAY))
    kernel.memory.take(DATABASE, Counters(4, 0, int(1_990e9)), behind)
    assert kernel.known[:2] == (EPOCH - 10.0, EPOCH - 10.0)
    assert kernel.known.gap is None


def test_those_that_worked_the_longest_ago_give_way() -> None:
    """The bound holds at every moment, and what works now is never lost."""
    memory = Memory()
    every = [destination(number) for number in range(2 * MOST)]
    for number, each in enumerate(every, 1):
        memory.take(each, Counters(1, 0, int(number * 1e9)), Moment(number, EPOCH + number))
        assert len(memory) <= MOST
        assert memory.known(each) is not None
    assert [each for each in every if memory.known(each)] == every[-MOST:]


def test_who_works_again_and_again_outlasts_a_crawl() -> None:
    """A destination of every night is known after 50,000 others that were tried once."""
    memory = Memory()
    for night in (1, 2):
        memory.take(DATABASE, Counters(night, 0, int(night * 1e9)), Moment(night, EPOCH))
    for number in range(50_000):
        moment = Moment(10.0 + number, EPOCH + number)
        memory.take(destination(number), Counters(1, 0, int((10 + number) * 1e9)), moment)
    assert memory.known(DATABASE) is not None


def test_a_new_one_finds_room_among_many_that_work_again_and_again() -> None:
    """It is kept until it is seen again, and then gives way to none of those before it."""
    memory = Memory()
    every = [destination(number) for number in range(MOST)]
    for sweep in (1, 2):
        for each in every:
            memory.take(each, Counters(sweep, 0, int(sweep * 1e9)), Moment(sweep, EPOCH + sweep))
    for sweep in (3, 4):
        counts = Counters(sweep, 0, int(sweep * 1e9))
        for each in (DATABASE, *every[MOST // 2 :]):
            memory.take(each, counts, Moment(sweep, EPOCH + sweep))
    assert memory.known(DATABASE) is not None
    assert memory.known(every[0]) is None
    assert all(memory.known(each) for each in every[1:])


def test_several_are_known_as_one() -> None:
    """Since the first and until the last of them; as the one does that is used most."""
    rare = Known(EPOCH, EPOCH + 9, 0.5, 0.9, 60.0)
    busy = Known(EPOCH + 3, EPOCH + 7, 0.01, 0.002, 20.0)
    new = Known(EPOCH + 8, EPOCH + 8, 0.0, None, None)
    assert together([rare, None, busy, new]) == (EPOCH, EPOCH + 9, 0.01, 0.002, 15.0)
    assert together([new]) == new
    assert together([None]) is None
