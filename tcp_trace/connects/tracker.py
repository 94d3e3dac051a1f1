"""From a transition to the outcome of its attempt.

The rules, for a transition from `old` to `new` of a connecting socket:

    old         new            meaning
    CLOSE       SYN_SENT       an attempt begins
    SYN_SENT    SYN_RECV       simultaneous open: the attempt goes on
    SYN_SENT    ESTABLISHED    the attempt succeeded
    SYN_RECV    ESTABLISHED    the same, after a simultaneous open
    SYN_SENT    CLOSE          the attempt failed, unless the kernel program says that nothing was
                               sent; whether it lost a race is decided later (`races`)
    SYN_RECV    anything else  the same, after a simultaneous open
    any other                  the connection's later life: no outcome

There is no memory here. Transitions may be lost, the first one seen may be from the middle of a
connection, and socket addresses are reused. A machine with memory (SYN_SENT adds, ESTABLISHED
removes, CLOSE judges) goes wrong after each of these. So the memory is in the kernel: an entry per
socket address. Every transition carries its old state and the attempt's beginning, and is judged
alone; its outcome cannot depend on another record.

SYN_RECV belongs to an attempt only if the kernel knows the attempt's beginning: otherwise it is a
passive open. A transition that no TCP socket makes is counted in `impossible` and dropped.
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
    """Return the seconds since the attempt began, None if its beginning was not seen."""
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
    # An application that gives up may not have been notified yet of the soft error.
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


# From SYN_SENT the outcome needs no entry; from SYN_RECV it does.
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
        """Return the outcome of the attempt, None if this transition does not decide it."""
        change = (transition.oldstate, transition.newstate)
        rule = _RULES.get(change)
        if rule is None and transition.start_ns:
            rule = _RULES_IF_KNOWN.get(change)
        if rule is not None:
            return rule(transition)
        if not _STATES.issuperset(change):
            self.impossible += 1
        return None
