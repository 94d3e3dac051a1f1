"""The state machine under everything that two CPUs do: disorder, loss, reuse, late starts.

A history is made as the kernel would make it, then delivered in any order with any records
missing. The machine of a plain script (SYN_SENT adds, ESTABLISHED removes, CLOSE judges) is held
against the same properties, and must fail each: so they are known to bite.
"""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcp_trace.connects.events import Destination, Failure, Process, State, Transition
from tcp_trace.connects.tracker import Tracker, _failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Outcome

S = State


class Machine(Protocol):
    """What turns transitions into outcomes."""

    def judge(self, transition: Transition) -> Outcome | None:
        """Return what became of the attempt."""


class PlainMachine:
    """What a hundred-line script does, with the CPU in the place of the socket's address."""

    def __init__(self) -> None:
        self.pending: set[int] = set()

    def judge(self, transition: Transition) -> Outcome | None:
        """SYN_SENT adds, ESTABLISHED removes, CLOSE judges."""
        if transition.newstate == S.SYN_SENT:
            self.pending.add(transition.start_cpu)
        elif transition.newstate == S.ESTABLISHED:
            self.pending.discard(transition.start_cpu)
        elif transition.newstate == S.CLOSE and transition.start_cpu in self.pending:
            self.pending.discard(transition.start_cpu)
            return _failed(transition)
        return None


# What a socket goes through, and whether the kernel keeps an entry for it.
ESTABLISHED = (S.CLOSE, S.SYN_SENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2, S.CLOSE)
CLOSED_BY_PEER = (S.CLOSE, S.SYN_SENT, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
FAILED = (S.CLOSE, S.SYN_SENT, S.CLOSE)
SIMULTANEOUS = (S.CLOSE, S.SYN_SENT, S.SYN_RECV, S.ESTABLISHED, S.CLOSE)
SIMULTANEOUS_FAILED = (S.CLOSE, S.SYN_SENT, S.SYN_RECV, S.CLOSE)
BEGUN_BEFORE_US = (S.SYN_SENT, S.CLOSE)
PASSIVE = (S.LISTEN, S.SYN_RECV, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
PASSIVE_FAILED = (S.LISTEN, S.SYN_RECV, S.CLOSE)

ACTIVE = (ESTABLISHED, CLOSED_BY_PEER, FAILED, SIMULTANEOUS, SIMULTANEOUS_FAILED)
WITHOUT_ENTRY = (BEGUN_BEFORE_US, PASSIVE, PASSIVE_FAILED)


class Life(NamedTuple):
    """One use of a socket address; its number is its local port, by which outcomes are told."""

    number: int
    states: tuple[State, ...]

    @property
    def succeeded(self) -> bool:
        """Whether it was ever established."""
        return S.ESTABLISHED in self.states

    @property
    def outbound(self) -> bool:
        """Whether this host began it."""
        return S.LISTEN not in self.states


def transitions_of(life: Life, sock: int, start: int) -> list[Transition]:
    """Return what the kernel submits for one use of a socket address, beginning at `start` ns."""
    known = life.states in ACTIVE
    maker = Process(1000 + life.number, "app", 0, 1, 1) if known else None
    return [
        Transition(
            start_cpu=sock,
            start_ns=start if known else 0,
            timestamp_ns=start + step,
            wall=0.0,
            oldstate=old,
            newstate=new,
            destination=Destination("192.0.2.1", 80),
            local_address="192.0.2.9",
            local_port=life.number,
            process=maker,
            errno=111,
            soft_errno=0,
            syns=1,
        )
        for step, (old, new) in enumerate(zip(life.states, life.states[1:], strict=False))
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, Life], list[Transition]]:
    """Draw lives on few socket addresses, and their transitions in the order they happened."""
    kinds = draw(st.lists(st.sampled_from(ACTIVE + WITHOUT_ENTRY), min_size=1, max_size=12))
    lives = {number: Life(number, states) for number, states in enumerate(kinds, 1)}
    happened: list[Transition] = []
    for life in lives.values():
        sock = draw(st.integers(1, 3))
        happened += transitions_of(life, sock, start=life.number * 1000)
    return lives, happened


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[dict[int, Life], list[Transition]]:
    """Draw a history as it arrives: any order, any records lost."""
    lives, happened = draw(histories())
    kept = [t for t in happened if draw(st.integers(0, 9))]
    return lives, draw(st.permutations(kept))


def failures_of(machine: Machine, delivered: list[Transition]) -> list[int]:
    """Return the local ports of the failures that a machine tells of."""
    outcomes = map(machine.judge, delivered)
    return [outcome.local_port for outcome in outcomes if isinstance(outcome, Failure)]


def no_false_alarm(make: Callable[[], Machine]) -> None:
    """Expect never a failure for what reached ESTABLISHED, nor for what another host began."""

    @settings(max_examples=500, deadline=None)
    @given(deliveries())
    def check(delivery: tuple[dict[int, Life], list[Transition]]) -> None:
        lives, delivered = delivery
        told = [lives[number] for number in failures_of(make(), delivered)]
        assert not [life for life in told if life.succeeded or not life.outbound]

    check()


def exactly_once(make: Callable[[], Machine]) -> None:
    """Expect a failure exactly once for every delivered SYN_SENT→CLOSE."""

    @settings(max_examples=500, deadline=None)
    @given(deliveries())
    def check(delivery: tuple[dict[int, Life], list[Transition]]) -> None:
        _, delivered = delivery
        told = Counter(failures_of(make(), delivered))
        for transition in delivered:
            if (transition.oldstate, transition.newstate) == (S.SYN_SENT, S.CLOSE):
                assert told[transition.local_port] == 1

    check()


def no_growth(make: Callable[[], Machine]) -> None:
    """Expect memory to stay the same, however many attempts come and whatever is lost."""
    machine = make()
    sizes = []
    for number in range(2000):
        life = Life(number % 60_000, FAILED if number % 2 else ESTABLISHED)
        begun = transitions_of(life, sock=0xFFFF0000 + number, start=number + 1)[0]
        machine.judge(begun)  # and all that follows is lost
        sizes.append(len(pickle.dumps(machine.__dict__)))
    assert max(sizes) <= sizes[99] + 100


def order_does_not_matter(make: Callable[[], Machine]) -> None:
    """Expect the set of outcomes to be the same in whatever order the transitions arrive."""

    @settings(max_examples=500, deadline=None)
    @given(deliveries(), st.randoms(use_true_random=False))
    def check(delivery: tuple[dict[int, Life], list[Transition]], random: object) -> None:
        _, delivered = delivery
        again = list(delivered)
        random.shuffle(again)  # type: ignore[attr-defined]
        outcomes, others = (Counter(map(make_judge(make), order)) for order in (delivered, again))
        assert outcomes == others

    def make_judge(make: Callable[[], Machine]) -> Callable[[Transition], Outcome | None]:
        return make().judge

    check()


PROPERTIES = (no_false_alarm, exactly_once, no_growth, order_does_not_matter)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__)
def test_tracker(holds: Callable[[Callable[[], Machine]], None]) -> None:
    """The tracker has every property."""
    holds(Tracker)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__)
def test_plain_machine_fails(holds: Callable[[Callable[[], Machine]], None]) -> None:
    """The plain machine has none of them."""
    with pytest.raises(AssertionError):
        holds(PlainMachine)
