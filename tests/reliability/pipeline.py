"""The daemon's pipeline without a kernel: records go in at the rings, messages come out.

Everything is the service's own: rings without a CPU, maps without a kernel behind them.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from tcp_trace.connects.events import State
from tcp_trace.kernel.handover import Handover
from tcp_trace.kernel.stream import DESTINATION, MAKER, TRANSITION
from tcp_trace.service.daemon import Service
from tcp_trace.settings import config

if TYPE_CHECKING:
    from pathlib import Path

    from tcp_trace.settings.config import Settings

_NO_MAPS = dict.fromkeys(
    ("destinations", "cgroups", "tallies", "watched", "races", "held", "execs"), -1
)


def service(settings: Settings) -> Service:
    """Return a service that watches nothing, and is not started."""
    received = Handover(
        hook="none", hook_fds=(), return_fds=(), rings=(), pages=8, maps=_NO_MAPS, facts={}
    )
    return Service(settings, received, lambda: settings)


def settings(state: Path, slack: str, **environ: str) -> Settings:
    """Return settings for it."""
    given = {"STATE_DIR": str(state), "SLACK_URL": slack, "HOST_NAME": "web-1", **environ}
    return config.load(given, None)


def record(number: int, address: str, port: int = 443, comm: bytes = b"curl") -> bytes:
    """Return what the kernel submits of a connect that was refused."""
    now = time.monotonic_ns()
    packed = socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")
    maker = MAKER.pack(1, 0, 4_000_000, 0, 1000, 4_026_531_840, comm, b"")
    destination = DESTINATION.pack(packed, 0, 0, 0, port, 0)
    states = (State.SYN_SENT, State.CLOSE)
    return TRANSITION.pack(
        *(now - 1_000_000, now, maker, destination, packed),
        *(111, 0, 0, 0, 40_000, *states, number, 0),
    )


def feed(fed: Service, records: list[bytes]) -> None:
    """Put records in at the rings, and let the service take them in."""
    fed._rings._backlog.extend(records)
    while fed._rings.backlog:
        fed._turn()
