"""The audit of a running service: each gap is told once, the coverage now and then."""

from __future__ import annotations

import logging

import pytest

from tcp_trace.connects.coverage import TOLERANCE, Kernel
from tcp_trace.host import netns
from tcp_trace.probes.connectmaps import Tallies
from tcp_trace.service.selfaudit import INTERVAL, SelfAudit

GAP = "the kernel counted connects that were not seen"
UNUSED = "the hook is not run, the net behind it does its work"


class World:
    """A kernel and a kernel program whose counts are set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = Kernel(1000, 100, 0)
        self.tallies = Tallies()
        monkeypatch.setattr(netns, "counted_until_now", lambda: self.kernel)
        monkeypatch.setattr(netns, "counted_from_now", lambda: self.kernel)
        self.audit = SelfAudit(lambda: self.tallies)
        self.now = 0.0
        self.audit.restart(self.now, watches_everything=True)

    def connect(self, times: int, *, seen: int | None = None, failing: bool = False) -> None:
        """Let connects happen and be seen."""
        seen = times if seen is None else seen
        kernel, tallies = self.kernel, self.tallies
        self.kernel = kernel._replace(active_opens=kernel.active_opens + times)
        self.tallies = tallies._replace(opened=tallies.opened + seen)
        if failing:
            self.kernel = self.kernel._replace(attempt_fails=kernel.attempt_fails + times)
            self.tallies = self.tallies._replace(aborted=tallies.aborted + seen)

    def check(self) -> None:
        """Let a minute pass."""
        self.now += 60.0
        self.audit.check(self.now)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which both have counted something before."""
    return World(monkeypatch)


def test_a_gap_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With its size; attempts that sent no SYN are none of the kernel's."""
    world.connect(10, failing=True)
    world.tallies = world.tallies._replace(opened=12, unsent=2)
    world.check()
    assert caplog.messages == []
    world.connect(10, seen=5, failing=True)
    world.audit.check(world.now + 30.0)  # not due
    assert caplog.messages == []
    world.check()
    (record,) = caplog.records
    assert (record.message, record.levelname) == (GAP, "WARNING")
    assert (record.__dict__["unseen_attempts"], record.__dict__["unseen_failures"]) == (5, 5)
    assert world.audit.latest() == {"attempts": 0.5, "failures": 0.5}
    assert world.audit.total() == {"attempts": 0.75, "failures": 0.75}


def test_a_gap_is_told_once_and_the_next_one_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as it goes on nothing is said; it is over when connects were seen, all of them."""
    for seen in (0, 0, 10, 5):
        world.connect(10, seen=seen)
        world.check()
        world.check()  # nothing happens
    assert caplog.messages == [GAP, GAP]


def test_many_seen_before_hide_no_gap_of_now(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """However many were seen, and however many of them the kernel did not count."""
    world.connect(1_000_000)
    world.tallies = world.tallies._replace(opened=1_000_200)
    world.check()
    world.connect(200, seen=0)
    world.check()
    assert caplog.messages == [GAP]
    assert world.audit.latest() == {"attempts": 0.0, "failures": None}


def test_a_few_are_told_when_they_become_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What may have been under way is no gap yet; where nothing at all is seen it grows to one."""
    world.connect(TOLERANCE, seen=0)
    world.check()
    assert caplog.messages == []
    world.connect(1, seen=0)
    world.check()
    assert caplog.messages == [GAP]
    assert caplog.records[0].__dict__["unseen_attempts"] == TOLERANCE + 1


def test_what_was_under_way_is_no_gap(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel counts a connect after the kernel program did: maybe in the next interval."""
    for _ in range(10):
        world.connect(1000, seen=999)
        world.check()
        world.tallies = world.tallies._replace(opened=world.tallies.opened + 1)
    assert caplog.messages == []


def test_the_coverage_is_told_every_hour(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """At the level of what is no trouble, and of that hour."""
    caplog.set_level(logging.INFO)
    world.connect(10, seen=5)
    while world.now < 2 * INTERVAL:
        world.check()
        world.connect(1)
    assert caplog.messages == [GAP, "coverage", "coverage"]
    first, second = (record.__dict__ for record in caplog.records[1:])
    assert (first["unseen_attempts"], second["unseen_attempts"]) == (5, 0)
    assert 0.9 < first["attempts"] < 1.0
    assert second["attempts"] == 1.0


def test_a_part_is_not_compared(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel's counters know no filter."""
    world.audit.restart(0.0, watches_everything=False)
    world.connect(1000, seen=0)
    world.audit.check(2 * INTERVAL)
    assert caplog.messages == []
    assert world.audit.latest() == world.audit.total() == {}


def test_a_hook_that_is_not_run_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Once per episode: while the net does it all. A connect that it did for a race is none."""

    def connect(times: int, netted: int) -> None:
        world.connect(times)
        taken_up = world.tallies.taken_up + netted
        world.tallies = world.tallies._replace(taken_up=taken_up)
        world.audit.check(world.now)

    connect(1000, 7)
    connect(1, 1)
    connect(1, 0)
    assert caplog.messages == []
    for times in (1, 1, 1, 100):
        connect(times, times)
    connect(0, 50)  # those of containers are not among the opened
    (record,) = caplog.records
    assert record.message.startswith(UNUSED)
    assert record.__dict__["taken_up"] == 3
    connect(10, 0)
    connect(10, 10)
    assert len(caplog.records) == 2


def test_the_kernels_counters() -> None:
    """Those of this kernel can be read, and never run backwards."""
    first, second = netns.counted_from_now(), netns.counted_until_now()
    assert 0 <= first.active_opens <= second.active_opens
    assert first.attempt_fails <= second.attempt_fails
    assert first.embryonic_rsts <= second.embryonic_rsts
