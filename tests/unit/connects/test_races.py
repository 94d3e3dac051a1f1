"""Which failures are lost races: by names as far as they are known, else by times."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tcp_trace.connects import races
from tcp_trace.connects.events import Destination, Failure, Process, Raced
from tcp_trace.connects.races import HELD_MAX, HOLD, STEP, Races, Rival
from tcp_trace.connects.reasons import Reason

NOW = 1000.0
DEAD, OTHER, GOOD = "2001:db8::1", "2001:db8::2", "192.0.2.1"
DB, WEB = "db.example", "web.example"
WON = Rival(GOOD, NOW - 0.1, NOW - 0.01)


class World:
    """A process's successes and the names of addresses."""

    def __init__(self, rivals: list[Rival], hosts: dict[str, str], *, ignore: bool = True) -> None:
        self.rivals = rivals
        self.hosts = hosts
        self.races = Races(lambda *_: self.rivals, self._host_of, ignore=ignore)

    def _host_of(self, failure: Failure) -> str | None:
        return self.hosts.get(failure.destination.address)

    def failure(
        self,
        reason: Reason = Reason.CANCELLED,
        *,
        address: str = DEAD,
        syns: int = 1,
        lived: float = 0.3,
        raced: bool = False,
        process: Process | None = Process(7, "curl", 0, 1, 1),  # noqa: B008 - it is immutable
    ) -> Failure:
        """Return a failure that was told of now."""
        return Failure(
            destination=Destination(address, 443),
            reason=reason,
            errno=0,
            local_port=40_000,
            process=process,
            elapsed=lived,
            syns=syns,
            wall=0.0,
            mono=NOW,
            host=self.hosts.get(address),
            raced=raced,
        )


def is_lost(world: World, **about: bool | float) -> bool:
    """Return whether one that was closed lost a race; it is known at once."""
    failure = world.failure(**about)  # type: ignore[arg-type]
    outcome = world.races.judge(failure, NOW)
    assert outcome in (failure, Raced(failure))
    assert world.races.lost == isinstance(outcome, Raced)
    return isinstance(outcome, Raced)


@pytest.mark.parametrize("raced", [True, False])
@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({DEAD: DB, GOOD: DB}, True),
        ({DEAD: DB, GOOD: WEB}, False),
        ({DEAD: DB}, None),
        ({GOOD: DB}, None),
        ({}, None),
    ],
)
def test_names_decide(hosts: dict[str, str], expected: bool | None, *, raced: bool) -> None:  # noqa: FBT001
    """Addresses of one name race, of two do not; where a name is not known, times decide."""
    assert is_lost(World([WON], hosts), raced=raced) is (raced if expected is None else expected)


@pytest.mark.parametrize(
    "rival",
    [
        Rival(DEAD, NOW - 0.1, NOW - 0.01),
        Rival(GOOD, NOW - 0.4, NOW - 0.31),
        Rival(GOOD, NOW - 0.3, NOW - 0.21),
    ],
    ids=["the same address", "before it began", "too long ago"],
)
def test_successes_that_won_no_race(rival: Rival) -> None:
    """Who won did so while the loser connected, and just before it was closed."""
    assert not is_lost(World([rival], dict.fromkeys((DEAD, GOOD), DB)))


def test_who_outlives_a_success_does_not_race() -> None:
    """A program that connects again and again to where it works hides no dead host."""
    hosts = dict.fromkeys((DEAD, GOOD), DB)
    steady = WON._replace(later=NOW - 0.3, earlier=NOW - 0.7)
    assert not is_lost(World([steady], hosts), lived=1.0)
    assert is_lost(World([steady], hosts), lived=0.6)
    assert is_lost(World([WON._replace(later=NOW - 0.01)], hosts), lived=1.0)


def test_the_kernel_program_goes_by_the_same_times() -> None:
    """Where names are not known, the same seconds hold."""
    source = (Path(__file__).parents[3] / "bpf/connect/races.h").read_text()
    found = dict(re.findall(r"define RACE_(\w+) +(\d+)ULL", source))
    expected = {"BEGIN": races.BEGIN, "END": races.END, "OUTLIVED": races.OUTLIVED}
    assert {name: int(number) / 1e9 for name, number in found.items()} == expected


def test_a_winner_among_others() -> None:
    """Of several successes one with the same name is enough; another name is no evidence."""
    other = Rival(OTHER, NOW - 0.1, NOW - 0.01)
    assert is_lost(World([other, WON], {DEAD: DB, GOOD: DB, OTHER: WEB}))
    assert is_lost(World([other, WON], {DEAD: DB, OTHER: WEB}), raced=True)
    assert not is_lost(World([other, WON], {DEAD: DB, OTHER: WEB}))


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMED_OUT, Reason.RESET])
def test_an_answer_is_no_lost_race(reason: Reason) -> None:
    """Who was told something, or waited to the end, has failed."""
    world = World([WON], dict.fromkeys((DEAD, GOOD), DB))
    failure = world.failure(reason)
    assert world.races.judge(failure, NOW) is failure


def test_a_family_without_a_route() -> None:
    """Where the other family gets through to the same name, no route to the first is no failure."""
    world = World([], dict.fromkeys((DEAD, GOOD), DB))
    failure = world.failure(Reason.NETWORK_UNREACHABLE, syns=0, lived=0.0)
    assert world.races.judge(failure, NOW) is None
    assert world.races.next_deadline() == NOW + STEP
    assert world.races.expire(NOW + STEP) == []
    world.rivals = [Rival(GOOD, NOW + 0.01, NOW + 0.11)]
    assert world.races.expire(NOW + STEP) == []
    assert world.races.expire(NOW + 2 * STEP) == [Raced(failure)]
    assert world.races.next_deadline() is None
    assert world.races.judge(failure, NOW) == Raced(failure)
    assert world.races.lost == 2


@pytest.mark.parametrize(
    "rival",
    [
        None,
        Rival(OTHER, NOW + 0.01, NOW + 0.11),
        Rival("192.0.2.9", NOW + 0.01, NOW + 0.11),
        Rival(GOOD, NOW - 2.1, NOW - 2.0),
    ],
    ids=["none", "of the same family", "of another name", "of another time"],
)
def test_a_family_without_a_route_and_nothing_in_its_place(rival: Rival | None) -> None:
    """It is told after a second, and never lost."""
    rivals = [] if rival is None else [rival]
    world = World(rivals, dict.fromkeys((DEAD, GOOD, OTHER), DB))
    failure = world.failure(Reason.HOST_UNREACHABLE, syns=0, lived=0.0)
    assert world.races.judge(failure, NOW) is None
    told = [world.races.expire(NOW + step * STEP) for step in range(1, 13)]
    assert [one for each in told for one in each] == [failure]
    assert world.races.next_deadline() is None


def test_what_is_told_at_once() -> None:
    """Nothing is waited for without a name or a process, nor where a router said no."""
    world = World([], {GOOD: DB})
    unnamed = world.failure(Reason.NETWORK_UNREACHABLE, syns=0)
    answered = world.failure(Reason.NETWORK_UNREACHABLE, address=GOOD, syns=1)
    assert world.races.judge(unnamed, NOW) is unnamed
    assert world.races.judge(answered, NOW) is answered
    unknown = world.failure(raced=False, process=None)
    assert world.races.judge(unknown, NOW) is unknown


def test_what_is_held_back_is_bounded() -> None:
    """However many connects have no route, few are held back; the others are told at once."""
    world = World([], {DEAD: DB})
    failure = world.failure(Reason.NETWORK_UNREACHABLE, syns=0)
    told = [world.races.judge(failure, NOW) for _ in range(HELD_MAX + 23)]
    assert told == [None] * HELD_MAX + [failure] * 23
    assert world.races.expire(NOW + HOLD + STEP) == [failure] * HELD_MAX


def test_races_that_are_to_be_told() -> None:
    """With LOST_RACES=alert every failure is one, at once."""
    world = World([WON], dict.fromkeys((DEAD, GOOD), DB), ignore=False)
    for failure in (
        world.failure(raced=True),
        world.failure(Reason.NETWORK_UNREACHABLE, syns=0),
    ):
        assert world.races.judge(failure, NOW) is failure
