"""The probe `connect`: outbound TCP connects, from socket state changes.

The hook is attached before the net: the net would handle the test connect that proves the hook.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from tcp_trace.connects.watch import RULES_MAX
from tcp_trace.kernel import features
from tcp_trace.kernel.contract import Attach, Kind, NotAttachedError, Point, Without
from tcp_trace.probes import latency, proof
from tcp_trace.probes.connectmaps import Maps
from tcp_trace.probes.transitions import decode
from tcp_trace.settings.values import Events, Hook, LostRaces

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.connects.events import Transition
    from tcp_trace.settings.config import Settings

# Bounds of the kernel's maps. An attempt has an entry until it is established or fails; with
# EVENTS=all until its connection is closed. All entries are allocated at once: 200 bytes an
# attempt, 130 a destination, 2,100 a cgroup.
ATTEMPTS = 16_384
ATTEMPTS_ALL = 65_536
DESTINATIONS = 8_192
CGROUPS = 1_024
# 2**_CELL_BITS attempts have a cell and need no map entry.
_CELL_BITS = 12
# Twice the rules of a configuration: a reload adds the new ones before it removes the old ones.
_WATCH_MAX = 2 * RULES_MAX

# Pairs of a process and a port it connects to, at one moment: 390 bytes each.
_RACES = 4_096

# A user's budget of failures; beyond it they are counted, not reported one by one.
BURST, PER_SECOND = 4_000, 20
# Budgets: users and owners of cgroups with failures. Held: kinds of failure beyond a budget within
# two seconds, 250 bytes each.
_BUDGETS = 4_096
_HELD = 4_096
# Records read and waiting: at most 4,096 possible lost races, and as many log lines. Allocated on
# use.
_CARRIED = 16_384

# Destinations with a latency of their own: 350 bytes each. The least recently used goes first.
_LATENCIES = 4_096

# Threads inside a failing connect(), at one moment.
_ENDS = 1_024

_EVENTS = {Events.FAILURES: "EVENTS_FAILURES", Events.ATTEMPTS: "EVENTS_ATTEMPTS"}

_KPROBE = Attach(Kind.KPROBE, "tcp_set_state", "kprobe_tcp_set_state")
_SET_STATE = "sock:inet_sock_set_state"
_TRACEPOINT = Attach(Kind.RAW_TRACEPOINT, _SET_STATE, "tracepoint_inet_sock_set_state")
_HOOKS = {
    Hook.AUTO: ((_KPROBE,), (_TRACEPOINT,)),
    Hook.KPROBE: ((_KPROBE,),),
    Hook.TRACEPOINT: ((_TRACEPOINT,),),
}
_ARM = "write 1 to /sys/kernel/debug/kprobes/enabled and set kernel.ftrace_enabled=1"
_NOT_RUN = {
    Kind.KPROBE: f"the kprobe on tcp_set_state is placed but not run; {_ARM}",
    Kind.RAW_TRACEPOINT: (
        "the program on the tracepoint sock:inet_sock_set_state does not see a connect; "
        "use another kernel, or leave the sandbox"
    ),
}
_FIXES = {
    Hook.AUTO: "use a kernel with CONFIG_KPROBES",
    Hook.KPROBE: "use HOOK=auto in place of HOOK=kprobe",
    Hook.TRACEPOINT: "",
}


def ring_bytes(settings: Settings) -> int:
    """Return the size of the ring `transitions`."""
    return settings.ring_mb * 1024 * 1024


def _prove(attach: Attach, maps: Mapping[str, int]) -> None:
    try:
        is_run = proof.is_run(maps)
    except OSError as error:
        why = f"no connect to 127.0.0.1 ({error.strerror})"
        raise OSError(error.errno, why) from error
    if not is_run:
        raise NotAttachedError(_NOT_RUN[attach.kind])
    Maps(maps).forget()


def _try_out(attach: Attach) -> tuple[str, str] | None:
    """Return the problem and fix if kprobes do not run: disarmed ones can still be placed."""
    if attach.kind is not Kind.KPROBE or features.is_kprobe_run(attach.name, _close) is not False:
        return None
    return f"a {attach} is not run", _ARM


def _close() -> None:
    """Take a socket from LISTEN to CLOSE."""
    socket.create_server(("127.0.0.1", 0)).close()


_RETURNS = Point(
    "returns",
    (
        (
            Attach(Kind.FEXIT, "tcp_v4_connect", "tcp_v4_connect"),
            Attach(Kind.FEXIT, "tcp_v6_connect", "tcp_v4_connect"),
        ),
    ),
    "connect()",
    lost="connects that fail before a SYN are not seen",
    without=Without.NO_POINT,
    note="no_returns",
)
_NET = Point(
    "net",
    ((Attach(Kind.RAW_TRACEPOINT, _SET_STATE, "net_inet_sock_set_state"),),),
    "a state change after the hook",
)
_EXECS = Point(
    "execs",
    ((Attach(Kind.RAW_TRACEPOINT, "sched:sched_process_exec", "exec_sched_process_exec"),),),
    "an exec",
)
_ERRORS = Point(
    "errors",
    (
        # Since commit e6a3e4434000 (in v5.14).
        (Attach(Kind.RAW_TRACEPOINT, "sock:inet_sk_error_report", "error_inet_sk_error_report"),),
        (Attach(Kind.KPROBE, "sock_def_error_report", "error_sock_def_error_report"),),
    ),
    "an error that a socket reports",
    lost="an error that an application reads from its socket is reported as a time-out",
    without=Without.NO_POINT,
)


class Connect:
    """The probe; see the module."""

    name = "connect"
    source = "connect.c"

    def is_wanted(self, _: Settings, /) -> bool:
        """Return True: it is always wanted."""
        return True

    def maps(self, settings: Settings, /) -> tuple[str, ...]:
        """Return the maps to read, with the latencies if the metrics have them."""
        latencies = (latency.OVERALL, *(latency.EACH,) * (settings.metrics_destinations > 0))
        return (
            *("destinations", "cgroups", "watched", "tallies", "races", "held", "execs"),
            *("transitions", "carried", "progress"),
            *latencies * (settings.metrics is not None),
        )

    def constants(self, settings: Settings, /) -> Mapping[str, int | str]:
        """Return bounds, budgets and the choice of records."""
        attempts = ATTEMPTS_ALL if settings.events is Events.ALL else ATTEMPTS
        return {
            "EVENTS": _EVENTS.get(settings.events, "EVENTS_ALL"),
            "CELL_BITS": _CELL_BITS,
            "ATTEMPTS_MAX": attempts - (1 << _CELL_BITS),
            "DESTINATIONS_MAX": DESTINATIONS,
            "CGROUPS_MAX": CGROUPS,
            "WATCH_MAX": _WATCH_MAX,
            "RACES_MAX": _RACES,
            "ENDS_MAX": _ENDS,
            "BUDGET_BURST": BURST,
            "BUDGET_PER_SECOND": PER_SECOND,
            "BUDGETS_MAX": _BUDGETS,
            "HELD_MAX": _HELD,
            "CARRIED_MAX": _CARRIED,
            "RING_BYTES": ring_bytes(settings),
            "LOST_RACES": int(settings.lost_races is LostRaces.IGNORE),
            "LATENCIES_MAX": _LATENCIES if settings.metrics_destinations else 0,
            **({"LATENCY": 1} if settings.metrics is not None else {}),
        }

    def points(self, settings: Settings, /) -> tuple[Point, ...]:
        """Return the points: returns, hook, net, execs and errors."""
        hook = Point(
            "hook",
            _HOOKS[settings.hook],
            "a connect",
            fix=_FIXES[settings.hook],
            note="fallback",
            prove=_prove,
            try_out=_try_out,
        )
        return _RETURNS, hook, _NET, _EXECS, _ERRORS

    def decode(self, record: bytes, /) -> Transition:
        """Return the state change in a record."""
        return decode(record, time.time() - time.monotonic())

    def counts(self, _: Mapping[str, int], __: Settings, /) -> tuple[()]:
        """Return nothing: stage 2 has counters of its own."""
        return ()


CONNECT = Connect()
