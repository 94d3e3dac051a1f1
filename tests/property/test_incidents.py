"""Incidents under random histories: whatever happens, the counts add up and people stay calm."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.merging import merge
from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import PSQL, World, destination

if TYPE_CHECKING:
    from tcp_trace.connects.events import Process
    from tcp_trace.incidents.subjects import Subject

PLACES = st.integers(0, 30)
HOSTS = st.sampled_from([None, None, None, "db.example.com", "web.example.com"])
PROGRAMS = st.sampled_from([None, PSQL, PSQL._replace(pid=2), PSQL._replace(comm="gunicorn")])


class History(RuleBasedStateMachine):
    """Failures, successes, silences, waiting, restarts, clock jumps, evictions in any order."""

    policy: dict[str, float | None] = {}  # noqa: RUF012 - hypothesis makes the instances

    def __init__(self) -> None:
        super().__init__()
        self.world = World(**self.policy)
        self.began = self.world.mono
        self.restarts = 0

    @rule(
        place=PLACES,
        times=st.sampled_from([1, 1, 2, 30]),
        reason=st.sampled_from(list(Reason)),
        program=PROGRAMS,
        host=HOSTS,
    )
    def fail(
        self, place: int, times: int, reason: Reason, program: Process | None, host: str | None
    ) -> None:
        """Let connects to a destination fail, asked for by name or not."""
        self.world.fail(destination(place), times, reason, program, host=host)

    @rule(
        place=PLACES,
        times=st.sampled_from([1, 2, 5, 10_000]),
        reason=st.sampled_from(list(Reason)),
    )
    def hold_back(self, place: int, times: int, reason: Reason) -> None:
        """Let more connects fail than are told one by one: the kernel's count of them comes."""
        self.world.hold_back(destination(place), times, reason)

    @rule(first=PLACES, number=st.integers(2, 31))
    def fail_many(self, first: int, number: int) -> None:
        """Pull a cable: one connect to each of many destinations fails."""
        for place in range(first, min(31, first + number)):
            self.world.fail(destination(place))

    @rule(
        match=st.sampled_from(
            ["all", "10.0.0.0/28", "10.0.0.3:443", "reason=refused", "db.example.com:443"]
        ),
        seconds=st.sampled_from([1, 100, 700, 20_000]),
        until_recovered=st.booleans(),
    )
    def silence(self, match: str, seconds: float, *, until_recovered: bool) -> None:
        """Silence some of it for a while, instead of what was silenced before."""
        wall = self.world.now.wall
        silence = Silence("s", parse_match(match), wall, wall + seconds, "", until_recovered)
        self.world.incidents.silences = Silences([silence])

    @rule()
    def end_silence(self) -> None:
        """Let the service remove the silence of an incident that is over."""
        if self.world.incidents.over:
            self.world.incidents.over = set()
            self.world.incidents.silences = Silences()

    @rule()
    def remove_silence(self) -> None:
        """Let everything be heard again."""
        self.world.incidents.silences = Silences()

    @rule(place=PLACES)
    def succeed(self, place: int) -> None:
        """Let a connect succeed."""
        self.world.mono += 0.01
        self.world.succeed(destination(place))

    @rule(seconds=st.sampled_from([0.5, 10, 61, 130, 310, 1300, 15_000]))
    def wait(self, seconds: float) -> None:
        """Let time pass, with every deadline met."""
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([10, 310, 15_000]))
    def sleep(self, seconds: float) -> None:
        """Let time pass without a tick, as on a stopped host, and then tick."""
        self.world.mono += seconds
        self.world.tick()

    @rule(away=st.sampled_from([0, 1, 400, 5000]), jump=st.sampled_from([0, 0, -4000, 4000]))
    def restart(self, away: float, jump: float) -> None:
        """Restart the service; the kernel counts anew."""
        world = self.world
        saved = json.dumps(world.incidents.dump(world.now))
        world.mono += away
        world.wall_offset += jump
        world.misjudged += max(0, away + jump) - away
        world.kernel.clear()
        silences = world.incidents.silences
        world.incidents = Incidents.load(json.loads(saved), world.policy, world.now, silences)
        self.restarts += 1

    @rule(after=st.sampled_from([1, 2, 3, 4, None]), resolve_after=st.sampled_from([1, 120, 2_000]))
    def reload(self, after: int | None, resolve_after: float) -> None:
        """Change the policy in mid-flight, all but what `assert_calm` measures by."""
        world = self.world
        world.policy = replace(world.policy, after=after, resolve_after=resolve_after)
        world.incidents.use(world.policy, world.incidents.silences, world.now)

    @rule()
    def evict(self) -> None:
        """Let the kernel forget its counters."""
        self.world.kernel.clear()

    @rule(jump=st.sampled_from([-100_000, -1, 100_000]))
    def set_clock(self, jump: float) -> None:
        """Set the wall clock."""
        self.world.wall_offset += jump

    @invariant()
    def told_never_exceeds_fed(self) -> None:
        """No failure is told twice."""
        assert self.world.told_failures <= self.world.fed

    @invariant()
    def messages_are_sound(self) -> None:
        """Every message adds up in itself."""
        for n in self.world.told[-40:]:
            assert sum(reason.failures for reason in n.causes) == n.total
            assert sum(p.failures for p in n.processes) + n.unlisted == n.total
            assert 0 <= n.silenced <= n.failures <= n.total
            assert n.kind.is_last or n.silenced < n.failures
            assert n.duration >= 0
            assert n.last >= n.first
            assert n.ratio is None or 0 < n.ratio <= 1

    def teardown(self) -> None:
        """In the end everything is told, nothing twice, and not too much of it."""
        world = self.world
        world.wait(400_000)
        world.tick()
        incidents = world.incidents
        counted = incidents.below_threshold + incidents.silenced
        digests = [n for n in world.told if n.kind is Phase.DAILY]
        in_digests = sum(n.failures for n in digests)
        assert world.told_failures - in_digests + counted == world.fed
        day = incidents._unheard.day
        assert in_digests + (day.untold if day else 0) == incidents.below_threshold
        assert incidents.failing == 0
        assert not len(incidents._unheard.suspects)
        assert len({n.id for n in world.told}) == len(world.told)
        assert_alternating(world.told)
        assert_calm(world)


def assert_alternating(told: list[Notification]) -> None:
    """Fail if a destination is opened twice without a close between, or told of when closed."""
    open_now: dict[str, Subject | None] = {}
    for n in told:
        assert not n.absorbed
        if n.kind is Phase.DAILY:
            continue
        if n.kind is Phase.OPENED:
            assert n.subject not in open_now.values()
            open_now[n.incident] = n.subject
        assert n.incident in open_now
        if n.kind.is_last:
            del open_now[n.incident]
    assert not open_now


def assert_calm(world: World) -> None:
    """Fail if an open incident speaks twice within `interval`, or too many open at once."""
    told_at = world.told_at
    latest: dict[str, float] = {}
    for n in world.told:
        if n.kind in (Phase.UPDATED, Phase.REMINDED):
            least = world.policy.down_after if n.escalated else world.policy.interval
            assert told_at[n.id] - latest[n.incident] >= least - 1e-3
        latest[n.incident] = told_at[n.id]
    openings = [told_at[n.id] for n in world.told if n.kind is Phase.OPENED and not n.is_digest]
    for number, opened in enumerate(openings):
        burst = [at for at in openings[number:] if at - opened < world.policy.storm_window]
        # A reload may lie between those that were asked for and the others.
        assert len(burst) < world.policy.storm_subjects + world.policy.known_burst


class EagerHistory(History):
    """Told at the first failure."""


class ThresholdHistory(History):
    """Told at the third failure in a minute, with a table too small for all destinations."""

    policy = {"after": 3, "max_incidents": 12}  # noqa: RUF012


class CalmHistory(History):
    """Told when it is down, degraded or untried."""

    policy = {"after": None, "max_incidents": 60}  # noqa: RUF012


TestEager = EagerHistory.TestCase
TestThreshold = ThresholdHistory.TestCase
TestCalm = CalmHistory.TestCase
TestEager.settings = TestThreshold.settings = TestCalm.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_merging_preserves_counts(data: st.DataObject) -> None:
    """However the pending messages of an incident are merged, the failures told stay the same."""
    world = World()
    for _ in range(data.draw(st.integers(1, 6))):
        world.fail(times=data.draw(st.integers(1, 20)), reason=data.draw(st.sampled_from(Reason)))
        world.wait(data.draw(st.sampled_from([1, 310])))
    world.succeed()
    world.wait(50_000)
    pending = list(world.told)
    while len(pending) > 1:
        at = data.draw(st.integers(0, len(pending) - 2))
        merged = merge(pending[at], pending[at + 1])
        if merged is None:
            assert pending[at].incident != pending[at + 1].incident
            break
        pending[at : at + 2] = [merged]
    assert sum(n.failures for n in pending) == world.fed
    if len(pending) == 1:
        assert pending[0] == replace(
            world.told[-1],
            id=world.told[0].id,
            opening=True,
            failures=world.fed,
            since=world.told[0].since,
        )


@given(st.lists(st.floats(0, 400), max_size=80), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_one_destination_speaks_at_most_once_in_an_interval(gaps: list[float], after: int) -> None:
    """However failures of one destination come, its open incident speaks once per `interval`."""
    world = World(after=after)
    for gap in gaps:
        world.fail()
        world.wait(gap)
    for older, newer in zip(world.told, world.told[1:], strict=False):
        if newer.kind in (Phase.UPDATED, Phase.REMINDED):
            least = world.policy.down_after if newer.escalated else world.policy.interval
            assert newer.at - older.at >= least - 1e-3
