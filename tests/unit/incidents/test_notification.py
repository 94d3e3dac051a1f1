"""Notifications travel as JSON, and pending ones become one."""

from __future__ import annotations

import json

import pytest

from tcp_trace.incidents.merging import merge
from tcp_trace.incidents.notification import Notification, Phase
from tests.unit.incidents import version_1
from tests.unit.notify.golden import (
    OPENED,
    QUIET,
    REMINDED,
    RESOLVED,
    SAMPLES,
    STORM_OPENED,
    STORM_UPDATED,
    UPDATED,
)


@pytest.mark.parametrize("name", SAMPLES)
def test_json_round_trip(name: str) -> None:
    """What comes back from JSON equals what went in."""
    notification, _ = SAMPLES[name]
    assert Notification.from_dict(json.loads(json.dumps(notification.to_dict()))) == notification


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"kind": "exploded"},
        {"subject": {"address": "::1"}},
        {"subject": {"kind": "weather", "name": "rain"}},
        {"causes": [{"kind": "destination", "cause": "bored", "failures": 1, "evidence": {}}]},
        {"surprise": 1},
        {"top": None},
    ],
)
def test_what_is_not_a_notification_is_refused(change: dict[str, object]) -> None:
    """A damaged notification, or one of another version, raises ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"notification|is not a valid"):
        Notification.from_dict(OPENED.to_dict() | change)


def test_a_notification_from_before_makers_were_known_is_read() -> None:
    """What an older version left in the outbox is delivered, without what it did not know."""
    older = UPDATED.to_dict()
    for name in ("user", "unit", "container", "pod"):
        assert [row.pop(name, 0) for row in older["processes"]].count(0) == 0
    gunicorn, psql = Notification.from_dict(json.loads(json.dumps(older))).processes
    assert gunicorn == UPDATED.processes[0]._replace(user=None, unit=None)
    assert psql == UPDATED.processes[1]


def test_a_notification_of_version_1_is_read() -> None:
    """What waits in the outbox while the program is upgraded is sent."""
    notifications = version_1.saved()["notifications"]
    assert len(notifications) == 14
    for name, old in notifications.items():
        assert Notification.from_dict(old) == SAMPLES[name][0]


def test_a_notification_from_before_names_were_known_is_read() -> None:
    """One that was pending while the program was upgraded is told all the same."""
    notifications = version_1.saved()["notifications"]
    for name in ("opened_by_name", "storm_resolved"):
        old = notifications[name]
        del old["hosts"]
        for top in old["top"]:
            del top["host"]
        read = Notification.from_dict(old)
        assert read.hosts == ()
        assert {top.host for top in read.top} <= {None}


def test_a_notification_with_a_field_missing_is_refused() -> None:
    """A notification without one of its fields raises ValueError."""
    for name in ("kind", "incident", "total", "version"):
        damaged = OPENED.to_dict()
        del damaged[name]
        with pytest.raises(ValueError, match="notification"):
            Notification.from_dict(damaged)


@pytest.mark.parametrize(
    ("older", "newer", "kind"),
    [
        (OPENED, UPDATED, Phase.OPENED),
        (OPENED, REMINDED, Phase.OPENED),
        (OPENED, RESOLVED, Phase.RESOLVED),
        (OPENED, QUIET, Phase.QUIET),
        (UPDATED, REMINDED, Phase.REMINDED),
        (UPDATED, RESOLVED, Phase.RESOLVED),
        (STORM_OPENED, STORM_UPDATED, Phase.OPENED),
    ],
)
def test_merged_is_the_newer_state_with_all_counts(
    older: Notification, newer: Notification, kind: Phase
) -> None:
    """Two pending messages become one: the older one's id and beginning, the newer one's state."""
    merged = merge(older, newer)
    assert merged is not None
    assert merged.kind is kind
    assert merged.id == older.id
    assert merged.opening is older.opening
    assert merged.since == older.since
    assert merged.failures == older.failures + newer.failures
    assert (merged.total, merged.last, merged.causes) == (newer.total, newer.last, newer.causes)
    assert merged.absorbed == older.absorbed + newer.absorbed


@pytest.mark.parametrize(
    ("older", "newer"),
    [(OPENED, STORM_UPDATED), (RESOLVED, UPDATED), (QUIET, RESOLVED), (UPDATED, OPENED)],
)
def test_what_does_not_fit_is_not_merged(older: Notification, newer: Notification) -> None:
    """Messages of two incidents, or after the end of one, stay two."""
    assert merge(older, newer) is None
