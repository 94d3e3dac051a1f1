"""From a transition to the outcome of its attempt.

The rules, for a transition from `old` to `new` of a socket that connects:

    old         new            meaning
    CLOSE       SYN_SENT       an attempt begins
    SYN_SENT    SYN_RECV       simultaneous open: the attempt goes on
    SYN_SENT    ESTABLISHED    the attempt succeeded
    SYN_RECV    ESTABLISHED    the same, after a simultaneous open
    SYN_SENT    CLOSE          the attempt failed, unless the kernel program says that nothing had
                               been sent; it may have lost a race, which is told later (`races`)
    SYN_RECV    anything else  the same, after a simultaneous open
    any other                  the connection's later life: no outcome

The machine has no memory here, and needs none. Some transitions are lost, the first one seen may be
from the middle of a connection, and socket addresses are used again. A machine that remembers
(SYN_SENT adds, ESTABLISHED removes, CLOSE judges) is wrong after each of these. So the memory is in
the kernel: an entry per socket address. Every transition carries the state it left and the
attempt's beginning, is judged alone, and its outcome cannot depend on another record.

A SYN_RECV is an attempt's only where the kernel knows the attempt's beginning: without it, it is
a passive open. A transition that no TCP socket makes is counted in `impossible` and dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Begun, Established, Failure, Outcome, State
from tcp_trace.connects.reasons import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Transition

_NANO = 1e-9


def elapsed(transition: Transition) -> float | None:
    """Return the seconds since the attempt began, None where its beginning was not seen."""
    if not transition.start_ns:
        return None
    return (transition.timestamp_ns - transition.start_ns) * _NANO


def _begun(transition: Transition) -> Outcome:
    return Begun(transition)


def _established(transition: Transition) -> Outcome:
    return Established(transition, elapsed(transition))


def _failed(transition: Transition) -> Outcome | None:
    if transition.unsent:
        return None
    # An application that gives up may have had an error that it was not told of yet.
    errno = transition.errno or transition.soft_errno
    return Failure(
        destination=transition.destination,
        reason=classify(errno, transition.local_port, transition.syns),
        errno=errno,
        local_port=transition.local_port,
        process=transition.process,
        elapsed=elapsed(transition),
        syns=transition.syns,
        wall=transition.wall,
        mono=transition.timestamp_ns * _NANO,
        raced=transition.raced,
        record=transition.record,
    )


# From SYN_SENT the outcome is known whoever began; from SYN_RECV only of a known attempt.
_RULES: dict[tuple[int, int], Callable[[Transition], Outcome | None]] = {
    (State.CLOSE, State.SYN_SENT): _begun,
    (State.SYN_SENT, State.ESTABLISHED): _established,
    (State.SYN_SENT, State.CLOSE): _failed,
}
_RULES_IF_KNOWN: dict[tuple[int, int], Callable[[Transition], Outcome | None]] = {
    (State.SYN_RECV, State.ESTABLISHED): _established,
    (State.SYN_RECV, State.CLOSE): _failed,
    (State.SYN_RECV, State.FIN_WAIT1): _failed,
}
_STATES = frozenset(State)


class Tracker:
    """The state machine. `impossible` counts the transitions that no TCP socket makes."""

    def __init__(self) -> None:
        self.impossible = 0

    def judge(self, transition: Transition) -> Outcome | None:
        """Return what became of the attempt, None where this transition does not decide it."""
        change = (transition.oldstate, transition.newstate)
        rule = _RULES.get(change)
        if rule is None and transition.start_ns:
            rule = _RULES_IF_KNOWN.get(change)
        if rule is not None:
            return rule(transition)
        if not _STATES.issuperset(change):
            self.impossible += 1
        return None
