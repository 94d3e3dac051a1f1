"""What the log says of an outcome: one line each, with the field's own words as names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tcp_trace.core.events import Begun, Established, Failure, State
from tcp_trace.core.reasons import errno_name

if TYPE_CHECKING:
    from tcp_trace.core.events import Destination, Outcome, Process, Transition

log = logging.getLogger("tcp_trace.connect")

_STATE_NAMES = {state.value: state.name for state in State}


def write_outcome(outcome: Outcome) -> None:
    """Log what became of an attempt."""
    match outcome:
        case Failure():
            log.warning("connect failed", extra=_failure(outcome))
        case Established():
            log.info("connect established", extra=_established(outcome))
        case Begun():
            log.info("connect begun", extra=_transition(outcome.transition))


def write_transition(transition: Transition) -> None:
    """Log one change of a socket's state."""
    log.info(
        "transition",
        extra={
            **_transition(transition),
            "old": _STATE_NAMES.get(transition.oldstate, transition.oldstate),
            "new": _STATE_NAMES.get(transition.newstate, transition.newstate),
        },
    )


def _failure(failure: Failure) -> dict[str, object]:
    return {
        **_destination(failure.destination),
        "reason": failure.reason.value,
        "errno": errno_name(failure.errno) if failure.errno else None,
        "elapsed_ms": _milliseconds(failure.elapsed),
        "syns": failure.syns,
        "lport": failure.local_port,
        **_process(failure.process),
        **failure.maker._asdict(),
        "at": round(failure.wall, 6),
    }


def _established(outcome: Established) -> dict[str, object]:
    return {**_transition(outcome.transition), "elapsed_ms": _milliseconds(outcome.elapsed)}


def _transition(transition: Transition) -> dict[str, object]:
    return {
        **_destination(transition.destination),
        "saddr": transition.local_address,
        "lport": transition.local_port,
        # Names the attempt. The socket's own address would tell of the kernel's memory layout.
        "attempt": f"{transition.start_ns:x}",
        **_process(transition.process),
        "at": round(transition.wall, 6),
    }


def _destination(destination: Destination) -> dict[str, object]:
    return {"daddr": destination.address, "dport": destination.port}


def _process(process: Process | None) -> dict[str, object]:
    if process is None:
        return {"pid": None, "comm": None, "uid": None, "netns": None}
    return {
        "pid": process.pid,
        "comm": process.comm,
        "uid": process.uid,
        "netns": process.netns,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
