"""The audit of a running service: a gap is told once, the coverage now and then."""

from __future__ import annotations

import logging

import pytest

from tcp_trace.core.coverage import Counted
from tcp_trace.kernel import netns
from tcp_trace.kernel.stream import Tallies
from tcp_trace.selfaudit import INTERVAL, SelfAudit

GAP = "the kernel counted connects that were not seen"


class World:
    """A kernel and a kernel program whose counts are set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = Counted(1000, 100)
        self.tallies = Tallies()
        monkeypatch.setattr(netns, "counted", lambda: self.kernel)
        self.audit = SelfAudit(lambda: self.tallies)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which both have counted something before."""
    return World(monkeypatch)


def test_a_gap_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With its size; attempts that sent no SYN are none of the kernel's."""
    world.audit.restart(0.0, watches_everything=True)
    world.kernel = Counted(1010, 105)
    world.tallies = Tallies(opened=12, unsent=2, aborted=5)
    world.audit.check(60.0)
    assert caplog.messages == []
    world.kernel = Counted(1020, 110)
    world.audit.check(90.0)  # not due
    assert caplog.messages == []
    world.audit.check(120.0)
    world.audit.check(180.0)
    (record,) = caplog.records
    assert (record.message, record.levelname) == (GAP, "WARNING")
    assert (record.__dict__["unseen_attempts"], record.__dict__["unseen_failures"]) == (10, 5)
    assert world.audit.shares() == {"attempts": 0.5, "failures": 0.5}


def test_the_coverage_is_told_every_hour(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """At the level of what is no trouble."""
    caplog.set_level(logging.INFO)
    world.audit.restart(0.0, watches_everything=True)
    for now in (INTERVAL - 60, INTERVAL, INTERVAL + 60, 2 * INTERVAL):
        world.audit.check(now)
    assert caplog.messages == ["coverage", "coverage"]


def test_a_part_is_not_compared(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel's counters know no filter."""
    world.audit.restart(0.0, watches_everything=False)
    world.kernel = Counted(2000, 200)
    world.audit.check(2 * INTERVAL)
    assert caplog.messages == []
    assert world.audit.shares() == {}


def test_the_kernels_counters() -> None:
    """Those of this kernel can be read, and never run backwards."""
    first, second = netns.counted(), netns.counted()
    assert 0 <= first.attempts <= second.attempts
    assert first.failures <= second.failures
