"""Notifications of many subjects: storms, and the digest of a day."""

from __future__ import annotations

from dataclasses import replace

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.notification import (
    CauseCount,
    Condition,
    Phase,
    Severity,
    State,
    SubjectCount,
)
from tests.unit.notify.golden.singles import CHECKOUT, DATABASE, GUNICORN, NOON, OPENED, PSQL

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
DAILY = replace(
    OPENED,
    id="d4y5xw2c-1",
    incident="d4y5xw2c",
    kind=Phase.DAILY,
    severity=Severity.INFO,
    opening=False,
    subject=None,
    failures=43,
    total=43,
    at=NOON,
    since=NOON - 86_400,
    first=NOON - 82_000,
    last=NOON - 700,
    duration=81_300.0,
    causes=(
        CauseCount(Reason.TIMED_OUT, 40, Evidence(110, 3.0, 2)),
        CauseCount(Reason.REFUSED, 3, Evidence(111, 0.0004, 1)),
    ),
    processes=(GUNICORN._replace(failures=30), PSQL._replace(failures=8)),
    unlisted=5,
    established=None,
    kinds=(("destination", 31),),
    top=tuple(
        SubjectCount(Destination(f"10.0.{n}.5", 443), 4 if n < 2 else 2, Condition.WORKS)
        for n in range(10)
    ),
    working=31,
)
DAILY_OF_A_CRAWLER = replace(
    DAILY,
    failures=4012,
    total=4012,
    causes=(CauseCount(Reason.TIMED_OUT, 4012, Evidence(110, 3.0, 2)),),
    processes=(GUNICORN._replace(comm="crawler", unit="crawler.service", failures=4012),),
    unlisted=0,
    kinds=(("destination", 3950),),
    top=(
        *(SubjectCount(Destination(f"192.0.2.{n}", 443), 4, None) for n in range(8)),
        SubjectCount(DATABASE, 3, Condition.WORKS, "db.example.com"),
    ),
    working=12,
)
STORM_OVER = replace(
    STORM_RESOLVED,
    total=98,
    failures=12,
    kinds=(("destination", 400),),
    causes=(CauseCount(Reason.TIMED_OUT, 98, Evidence(110, 3.0, 2)),),
    top=tuple(count._replace(condition=Condition.WORKS) for count in STORM_OPENED.top),
    working=312,
)
EXPLORED = replace(
    STORM_OPENED,
    severity=Severity.WARNING,
    failures=98,
    total=98,
    causes=(CauseCount(Reason.TIMED_OUT, 98, Evidence(110, 3.0, 2)),),
    processes=(PSQL._replace(comm="scan it", failures=98),),
    established=0,
    kinds=(("destination", 12),),
    absorbed=(),
    runbook="https://wiki.example.org/net",
    state=State.DOWN,
)
