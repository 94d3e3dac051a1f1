"""Notifications of one subject."""

from __future__ import annotations

from dataclasses import replace

from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.merging import merge
from tcp_trace.incidents.notification import (
    Background,
    CauseCount,
    Notification,
    Phase,
    ProcessCount,
    Severity,
    State,
)

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

# As the policy of states makes them.
DOWN = replace(
    OPENED,
    severity=Severity.CRITICAL,
    failures=38,
    total=38,
    at=NOON + 10.5,
    last=NOON + 10,
    duration=10.0,
    causes=(CauseCount(Reason.REFUSED, 38, Evidence(111, 0.00042, 1)),),
    processes=(GUNICORN._replace(failures=38),),
    state=State.DOWN,
    background=Background(worked=NOON - 3, latency=0.0008, share=0.0005),
    escalated=True,
)
DEGRADED = replace(
    DOWN,
    severity=Severity.WARNING,
    failures=12,
    total=12,
    at=NOON + 60,
    last=NOON + 58,
    duration=58.0,
    causes=(CauseCount(Reason.TIMED_OUT, 12, Evidence(110, 3.0, 2)),),
    processes=tuple(GUNICORN._replace(comm=f"app-{n}", failures=4 - n) for n in range(4)),
    unlisted=2,
    established=18,
    state=State.DEGRADED,
    escalated=False,
)
UNTRIED = replace(
    OPENED,
    subject=HostPort("db.example.com", 5432),
    addresses=("10.0.0.5",),
    at=NOON + 1200,
    state=State.UNTRIED,
    background=Background(worked=NOON - 7200),
)
NEVER_WORKED = replace(
    DOWN,
    severity=Severity.WARNING,
    failures=3,
    total=3,
    processes=(PSQL._replace(failures=3),),
    background=Background(),
    escalated=False,
)
REMINDED_OFTEN = replace(
    DOWN,
    id="k7f3q2ab-6",
    kind=Phase.REMINDED,
    opening=False,
    failures=100,
    total=412,
    at=NOON + 10_800.5,
    since=NOON + 7_200,
    last=NOON + 10_800,
    duration=10_800.0,
    causes=(CauseCount(Reason.REFUSED, 412, Evidence(111, 0.00042, 1)),),
    processes=(GUNICORN._replace(failures=412),),
    reminders=3,
    escalated=False,
    runbook="https://wiki.example.org/db?id=7&page=down",
)
WORKS_AGAIN = replace(
    DOWN,
    id="k7f3q2ab-2",
    kind=Phase.RESOLVED,
    opening=False,
    failures=93,
    total=131,
    at=NOON + 154,
    since=NOON + 10.5,
    last=NOON + 34,
    duration=34.0,
    causes=(CauseCount(Reason.REFUSED, 131, Evidence(111, 0.00042, 1)),),
    processes=(GUNICORN._replace(failures=131),),
    escalated=False,
)
SIX_ADDRESSES = replace(
    DOWN,
    subject=HostPort("db.example.com", 5432),
    addresses=tuple(f"10.0.0.{n}" for n in range(5, 11)),
)
HOSTILE_LINES = replace(HOSTILE, processes=HOSTILE.processes[2:4])
HOSTILE_MAKER = replace(HOSTILE, processes=(HOSTILE.processes[4]._replace(failures=5),))
_LONGER = merge(OPENED, UPDATED)
assert _LONGER is not None
_SHORT = merge(_LONGER, RESOLVED)
assert _SHORT is not None
OPENED_AND_RESOLVED = _SHORT
