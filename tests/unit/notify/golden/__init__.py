"""One notification of each kind, and the payloads they are known to make.

The files beside this one are the payloads as they were read and found good. When what is shown
changes on purpose, write them anew with `python3 -m tests.unit.notify.golden` and read the
difference (`git diff`) as a reader of the channel would.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.merging import merge
from tcp_trace.incidents.notification import (
    CauseCount,
    Condition,
    Notification,
    Phase,
    ProcessCount,
    Severity,
    SubjectCount,
)
from tcp_trace.notify.receivers import RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope

HOST = "web-1.example.org"
NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC
DATABASE = Destination("10.0.0.5", 5432)
PSQL = ProcessCount("psql", 4711, 1000, 77, several=False, failures=1)
GUNICORN = ProcessCount(
    "gunicorn", 812, 33, 78, several=True, failures=1190, user="www-data", unit="shop.service"
)
CHECKOUT = ProcessCount(
    "checkout",
    14087,
    1001,
    79,
    several=False,
    failures=1,
    container="containerd://" + "3f2a9c01" * 8,
    pod="6b3736cf-90a6-42f4-9147-f27714926ac6",
)

OPENED = Notification(
    id="k7f3q2ab-1",
    incident="k7f3q2ab",
    kind=Phase.OPENED,
    severity=Severity.WARNING,
    opening=True,
    subject=DATABASE,
    failures=1,
    total=1,
    at=NOON + 0.2,
    since=NOON,
    first=NOON,
    last=NOON,
    duration=0.0,
    causes=(CauseCount(Reason.REFUSED, 1, Evidence(111, 0.00042, 1)),),
    processes=(PSQL,),
    unlisted=0,
    established=0,
)
UPDATED = replace(
    OPENED,
    id="k7f3q2ab-2",
    kind=Phase.UPDATED,
    severity=Severity.CRITICAL,
    opening=False,
    failures=1200,
    total=1201,
    at=NOON + 300.2,
    since=NOON + 0.2,
    last=NOON + 299,
    duration=299.0,
    causes=(
        CauseCount(Reason.TIMED_OUT, 1000, Evidence(110, 127.0, 7)),
        CauseCount(Reason.OTHER, 201, Evidence(71, 0.5, 1)),
    ),
    processes=(
        GUNICORN,
        PSQL,
    ),
    unlisted=10,
    established=399,
)
REMINDED = replace(
    UPDATED,
    id="k7f3q2ab-3",
    kind=Phase.REMINDED,
    failures=40_000,
    total=41_201,
    at=NOON + 14_700.2,
    since=NOON + 300.2,
    last=NOON + 14_700,
    duration=14_700.0,
    causes=(CauseCount(Reason.TIMED_OUT, 41_201, Evidence(110, 127.0, 7)),),
    processes=(PSQL._replace(failures=41_201, several=True),),
    unlisted=0,
    established=None,
)
RESOLVED = replace(
    UPDATED,
    id="k7f3q2ab-3",
    kind=Phase.RESOLVED,
    failures=99,
    total=1300,
    at=NOON + 720,
    since=NOON + 300.2,
    last=NOON + 600,
    duration=600.0,
    causes=(CauseCount(Reason.REFUSED, 1300, Evidence(111, 0.001, 1)),),
    unlisted=109,
    established=86_700,
)
QUIET = replace(
    OPENED,
    id="k7f3q2ab-2",
    kind=Phase.QUIET,
    opening=False,
    failures=0,
    at=NOON + 1200,
    since=NOON + 0.2,
)
IN_A_POD = replace(
    OPENED, subject=DATABASE._replace(netns=4_026_532_281, netns_mix=7), processes=(CHECKOUT,)
)
BY_NAME = replace(OPENED, hosts=("replica.example.com", "db.example.com"))
LOOPBACK = replace(OPENED, subject=Destination("127.0.0.1", 6379, 4_026_532_621))
STORM_OPENED = replace(
    OPENED,
    id="zz5xw2cd-1",
    incident="zz5xw2cd",
    severity=Severity.CRITICAL,
    subject=None,
    failures=8397,
    total=8401,
    at=NOON + 5,
    last=NOON + 5,
    duration=5.0,
    causes=(CauseCount(Reason.TIMED_OUT, 8401, Evidence(110, 3.0, 2)),),
    processes=(GUNICORN._replace(failures=8401),),
    established=None,
    kinds=(("destination", 812),),
    top=tuple(
        SubjectCount(Destination(address, 443), 100 - n, None)
        for n, address in enumerate([*(f"10.0.{n}.5" for n in range(9)), "2001:db8:100::7"])
    ),
    absorbed=("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"),
)
STORM_UPDATED = replace(
    STORM_OPENED,
    id="zz5xw2cd-2",
    kind=Phase.UPDATED,
    opening=False,
    failures=500_000,
    total=508_401,
    at=NOON + 305,
    since=NOON + 5,
    last=NOON + 305,
    duration=305.0,
    causes=(CauseCount(Reason.TIMED_OUT, 508_401, Evidence(110, 3.0, 2)),),
    processes=(),
    unlisted=508_401,
    kinds=(("destination", 10_000),),
    untracked=1234,
    absorbed=(),
)
STORM_IN_PODS = replace(
    STORM_OPENED,
    processes=(CHECKOUT._replace(failures=8397),),
    kinds=(("destination", 1),),
    top=(SubjectCount(DATABASE, 8401, None, "db.example.com", 60),),
    absorbed=("aaaaaaaa", "bbbbbbbb"),
)
STORM_RESOLVED = replace(
    STORM_OPENED,
    id="zz5xw2cd-2",
    kind=Phase.RESOLVED,
    opening=False,
    failures=12,
    total=8413,
    at=NOON + 300,
    since=NOON + 5,
    last=NOON + 180,
    duration=180.0,
    causes=(CauseCount(Reason.TIMED_OUT, 8413, Evidence(110, 3.0, 2)),),
    processes=(GUNICORN._replace(failures=8413),),
    kinds=(("destination", 3),),
    top=(
        SubjectCount(Destination("10.0.0.5", 443), 3, Condition.FAILING, "db.example.com"),
        SubjectCount(Destination("10.0.1.5", 443), 8000, Condition.WORKS),
        SubjectCount(Destination("10.0.2.5", 443), 410, Condition.QUIET),
    ),
    absorbed=(),
)
HOSTILE = replace(
    OPENED,
    failures=5,
    total=5,
    causes=(CauseCount(Reason.REFUSED, 5, Evidence(111, 0.00042, 1)),),
    processes=(
        PSQL._replace(comm="<!channel>"),
        PSQL._replace(comm="@all `*_~:x:"),
        PSQL._replace(comm="a\nid fake-1\r\x1b[0m"),
        PSQL._replace(comm="\u202egnp.exe\u2066"),
        PSQL._replace(
            comm=" \u200b\u3164",
            user="a; unit `shop.service`",
            unit="<!here>.service",
            container="<!here>://\u202e*b*",
            pod="@all\n`",
        ),
    ),
)
_LONGER = merge(OPENED, UPDATED)
assert _LONGER is not None
_SHORT = merge(_LONGER, RESOLVED)
assert _SHORT is not None

SAMPLES: dict[str, tuple[Notification, float | None]] = {
    "opened": (OPENED, None),
    "opened_in_a_pod": (IN_A_POD, None),
    "opened_by_name": (BY_NAME, None),
    "opened_late": (LOOPBACK, 11_000.0),
    "updated": (UPDATED, None),
    "reminded": (REMINDED, None),
    "resolved": (RESOLVED, None),
    "opened_and_resolved": (_SHORT, 720.0),
    "quiet": (QUIET, None),
    "storm_opened": (STORM_OPENED, None),
    "storm_in_pods": (STORM_IN_PODS, None),
    "storm_updated": (STORM_UPDATED, None),
    "storm_resolved": (STORM_RESOLVED, None),
    "hostile": (HOSTILE, None),
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
