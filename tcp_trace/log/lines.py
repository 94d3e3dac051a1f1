"""The log's lines about outcomes, one each, with field names from the kernel and the TCP RFCs.

Frequent lines are written in batches.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Begun, Established, Failure, Raced, State
from tcp_trace.connects.reasons import errno_name
from tcp_trace.log.logs import EACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcp_trace.connects.events import Destination, Process, Transition
    from tcp_trace.connects.maker import Maker

log = logging.getLogger("tcp_trace.connect")

_STATE_NAMES = {state.value: state.name for state in State}
_NOBODY = (None,) * 8


def write_failures(failures: Sequence[Failure]) -> None:
    """Log failed attempts, in order."""
    # Not as fields of the record, which has a field `thread` already.
    if failures:
        log.warning("connect failed", extra={EACH: list(map(_failure, failures))})


def write_held(shown: Sequence[Failure], others: Sequence[Failure]) -> None:
    """Log failures beyond a budget, with their makers; sum up `others` in one line."""
    if shown:
        log.warning("failures held back", extra={EACH: list(map(_held, shown))})
    if others:
        times = sum(failure.times for failure in others)
        destinations = len({failure.destination for failure in others})
        log.warning("more failures held back", extra={"times": times, "destinations": destinations})


def write_outcomes(outcomes: Sequence[Begun | Established | Raced]) -> None:
    """Log attempts that began, succeeded or lost a race, in order."""
    if log.isEnabledFor(logging.INFO):
        begun = [one for one in outcomes if isinstance(one, Begun)]
        _write("connect begun", [_transition(one.transition) for one in begun])
        established = [one for one in outcomes if isinstance(one, Established)]
        _write("connect established", [_ended(one) for one in established])
        raced = [one for one in outcomes if isinstance(one, Raced)]
        _write("connect lost a race", [_failure(one.failure) for one in raced])


def write_transitions(transitions: Sequence[Transition]) -> None:
    """Log socket state changes."""
    if log.isEnabledFor(logging.INFO):
        _write("transition", [_change(transition) for transition in transitions])


def _write(message: str, each: list[dict[str, object]]) -> None:
    if each:
        log.info(message, extra={EACH: each})


def _failure(failure: Failure) -> dict[str, object]:
    return {
        **_destination(failure.destination),
        "host": failure.host,
        "reason": failure.reason.value,
        "errno": errno_name(failure.errno) if failure.errno else None,
        "elapsed_ms": _milliseconds(failure.elapsed),
        "syns": failure.syns,
        "lport": failure.local_port,
        **_process(failure.process),
        **_maker(failure.maker),
        "times": failure.times,
        "at": round(failure.wall, 6),
    }


def _held(failure: Failure) -> dict[str, object]:
    left_out = ("elapsed_ms", "syns", "lport", "pid", "command")
    return {name: value for name, value in _failure(failure).items() if name not in left_out}


def _maker(maker: Maker) -> dict[str, object]:
    return {
        "user": maker.user,
        "unit": maker.unit,
        "container": maker.container,
        "pod": maker.pod,
        "command": maker.command,
    }


def _ended(outcome: Established) -> dict[str, object]:
    return {**_transition(outcome.transition), "elapsed_ms": _milliseconds(outcome.elapsed)}


def _change(transition: Transition) -> dict[str, object]:
    fields = _transition(transition)
    fields["old"] = _STATE_NAMES.get(transition.oldstate, transition.oldstate)
    fields["new"] = _STATE_NAMES.get(transition.newstate, transition.newstate)
    return fields


def _transition(transition: Transition) -> dict[str, object]:
    # One dict display: with EVENTS=all, merging parts would be the largest cost of a line.
    address, port, _, _, interface, _ = transition.destination
    pid, comm, uid, _, netns, thread, _, _ = transition.process or _NOBODY
    return {
        "daddr": address,
        "dport": port,
        "interface": interface or None,
        "saddr": transition.local_address,
        "lport": transition.local_port,
        "attempt": f"{transition.start_ns:x}.{transition.start_cpu}",
        "pid": pid,
        "comm": comm,
        "thread": thread,
        "uid": uid,
        "netns": netns,
        "at": round(transition.wall, 6),
    }


def _destination(destination: Destination) -> dict[str, object]:
    interface = destination.interface or None
    return {"daddr": destination.address, "dport": destination.port, "interface": interface}


def _process(process: Process | None) -> dict[str, object]:
    pid, comm, uid, _, netns, thread, _, _ = process or _NOBODY
    return {"pid": pid, "comm": comm, "thread": thread, "uid": uid, "netns": netns}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
