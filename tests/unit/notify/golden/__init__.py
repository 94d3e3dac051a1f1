"""One notification of each kind, and the payloads they are known to make.

The files beside this one are the payloads as they were read and found good. When what is shown
changes on purpose, write them anew with `python3 -m tests.unit.notify.golden` and read the
difference (`git diff`) as a reader of the channel would.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.notify.receivers import RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope
from tests.unit.notify.golden.digests import (
    DAILY,
    DAILY_OF_A_CRAWLER,
    EXPLORED,
    STORM_IN_PODS,
    STORM_OPENED,
    STORM_OVER,
    STORM_RESOLVED,
    STORM_UPDATED,
)
from tests.unit.notify.golden.singles import (
    BY_NAME,
    CHECKOUT,
    DATABASE,
    DEGRADED,
    DOWN,
    HOST,
    HOSTILE,
    HOSTILE_LINES,
    HOSTILE_MAKER,
    IN_A_POD,
    LOOPBACK,
    NEVER_WORKED,
    NOON,
    OPENED,
    OPENED_AND_RESOLVED,
    PSQL,
    QUIET,
    REMINDED,
    REMINDED_OFTEN,
    RESOLVED,
    SIX_ADDRESSES,
    UNTRIED,
    UPDATED,
    WORKS_AGAIN,
)

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification

__all__ = [
    "BY_NAME",
    "CHECKOUT",
    "DAILY",
    "DAILY_OF_A_CRAWLER",
    "DATABASE",
    "DEGRADED",
    "DOWN",
    "EXPLORED",
    "HOST",
    "HOSTILE",
    "HOSTILE_LINES",
    "HOSTILE_MAKER",
    "IN_A_POD",
    "LOOPBACK",
    "NEVER_WORKED",
    "NOON",
    "OPENED",
    "OPENED_AND_RESOLVED",
    "PSQL",
    "QUIET",
    "REMINDED",
    "REMINDED_OFTEN",
    "RESOLVED",
    "SAMPLES",
    "SIX_ADDRESSES",
    "STORM_IN_PODS",
    "STORM_OPENED",
    "STORM_OVER",
    "STORM_RESOLVED",
    "STORM_UPDATED",
    "UNTRIED",
    "UPDATED",
    "WORKS_AGAIN",
    "golden_file",
    "rendered",
]

SAMPLES: dict[str, tuple[Notification, float | None]] = {
    "opened": (OPENED, None),
    "opened_in_a_pod": (IN_A_POD, None),
    "opened_by_name": (BY_NAME, None),
    "opened_late": (LOOPBACK, 11_000.0),
    "updated": (UPDATED, None),
    "reminded": (REMINDED, None),
    "resolved": (RESOLVED, None),
    "opened_and_resolved": (OPENED_AND_RESOLVED, 720.0),
    "quiet": (QUIET, None),
    "storm_opened": (STORM_OPENED, None),
    "storm_in_pods": (STORM_IN_PODS, None),
    "storm_updated": (STORM_UPDATED, None),
    "storm_resolved": (STORM_RESOLVED, None),
    "hostile": (HOSTILE, None),
    "hostile_lines": (HOSTILE_LINES, None),
    "hostile_maker": (HOSTILE_MAKER, None),
    "down": (DOWN, None),
    "degraded": (DEGRADED, None),
    "untried": (UNTRIED, None),
    "never_worked": (NEVER_WORKED, None),
    "reminded_often": (REMINDED_OFTEN, None),
    "works_again": (WORKS_AGAIN, None),
    "six_addresses": (SIX_ADDRESSES, None),
    "storm_over": (STORM_OVER, 21_600.0),
    "explored": (EXPLORED, None),
    "daily": (DAILY, None),
    "daily_of_a_crawler": (DAILY_OF_A_CRAWLER, None),
}


def golden_file(name: str) -> Path:
    """Return where the payloads of this sample are kept."""
    return Path(__file__).parent / f"{name}.json"


def rendered(name: str) -> str:
    """Return the payloads of this sample as they are now."""
    notification, delayed_by = SAMPLES[name]
    envelope = Envelope(HOST, delayed_by)
    payloads = {
        name: receiver.renderer()(notification, envelope) for name, receiver in RECEIVERS.items()
    }
    return json.dumps(payloads, indent=1, ensure_ascii=False) + "\n"
