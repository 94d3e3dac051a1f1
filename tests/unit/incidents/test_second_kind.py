"""A second kind of failure goes through everything, though nothing in the program knows of it.

It is made up here: listeners whose queue overflows. Its subjects have the very fields of a
destination, so that only their kind tells them apart, and no address that rules could mean.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import listing
from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Reason
from tcp_trace.connects.watch import EVERYTHING, parse_rules
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import CauseCount, Notification, Phase, Severity
from tcp_trace.incidents.topics import TOPICS
from tcp_trace.notify import wording
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.receivers import RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.routing import DEFAULT, Route, Router
from tcp_trace.notify.standing import Standing
from tcp_trace.notify.store import NAME
from tests.unit.incidents.incident_world import DATABASE
from tests.unit.incidents.overflow_world import TOPIC, Drops, Host, Overflow, silenced, storm
from tests.unit.notify.golden import HOST
from tests.unit.notify.samples import STYLE, said
from tests.unit.notify.test_webhook_schema import SCHEMA, misfits

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put its line into the registry."""
    monkeypatch.setitem(TOPICS, "listener", TOPIC)


def test_an_incident_from_its_opening_to_its_end() -> None:
    """It is told in words of its own, counted, and over when the kernel saw a success."""
    host = Host(recent=1000)
    (opened,) = host.overflow()
    text = said(opened)
    assert text.startswith(f"🟠 WARNING: *:80: 1 connect of others failed (host {HOST})\n")
    assert "\nthe accept queue is full (limit 511, 1 dropped) · nginx (pid 812; user" in text
    assert "\nCheck first: Does the program still accept?\n" in text
    assert "\nSilence: sudo tcp-trace silence add --for 2h --unit shop.service\n" in text
    host.overflow(cause=Overflow.TIMED_OUT, times=9)
    host.restart()
    (updated,) = host.wait(301)
    assert (updated.kind, updated.failures, updated.total) == (Phase.UPDATED, 9, 10)
    assert updated.causes == (
        CauseCount(Overflow.TIMED_OUT, 9, Drops(511, 9)),
        CauseCount(Overflow.ACCEPT, 1, Drops(511, 1)),
    )
    assert "timed out: no third ACK (limit 511) (9), the accept" in said(updated)
    host.accept()
    (resolved,) = host.wait(130)
    assert "RECOVERED: *:80 failed for under 1 s, works again" in said(resolved)
    assert host.told_failures == host.fed


def test_it_is_quiet_when_nobody_tries() -> None:
    """As a destination is."""
    host = Host()
    host.overflow()
    (quiet,) = host.wait(1300)
    assert quiet.kind is Phase.QUIET
    assert "QUIET: *:80 failed; nobody has connected for 20 min" in said(quiet)


def test_the_same_fields_of_another_kind_are_another_subject() -> None:
    """A destination and a listener of one address and port have an incident each."""
    host = Host()
    (first,) = host.overflow(DATABASE.port)
    (second,) = host.fail(DATABASE)
    assert tuple(first.subject or ())[:-1] == tuple(second.subject or ())[:-1]
    assert first.incident != second.incident
    assert host.incidents.failing == 2
    host.restart()
    assert host.incidents.failing == 2
    host.wait(400)
    assert host.told_failures == host.fed == 2


def test_a_storm_of_both_kinds() -> None:
    """One digest speaks for all, and says how many there are of each."""
    host = Host()
    digest = storm(host)
    assert digest.subjects == {"destination": 4, "listener": 3}
    assert ": 4 destinations and 3 listeners fail: 7 attempts failed (" in said(digest)
    assert "*:82: 1 failure" in wording.subjects(digest, STYLE, 9)
    host.restart()
    host.accept(82)
    host.succeed(Destination("10.1.0.2", 443))
    (last,) = [n for n in host.wait(1500) if n.kind.is_last and n.is_digest]
    assert "RECOVERED: 2 of 7 destinations and listeners work again" in said(last)
    lines = wording.subjects(last, STYLE, 9)
    assert "*:82: 1 failure, accepts again" in lines
    assert "*:83: 1 failure, nobody connected since" in lines
    assert "10.1.0.2:443: 1 failure, connects again" in lines
    assert host.told_failures == host.fed


def test_a_storm_of_network_namespaces() -> None:
    """One listener in three namespaces is told as one, with the words of its kind."""
    host = Host()
    for netns in range(1, 6):
        host.overflow(80, netns=netns)
    (digest,) = [n for n in host.wait(6) if n.is_digest]
    assert "*:80 in 3 network namespaces: 3 connects of others failed" in said(digest)


def test_severity_and_flapping() -> None:
    """They go by its failures and successes, as with any."""
    host = Host(after=3)
    assert host.overflow(times=2) == []
    (opened,) = host.overflow()
    assert opened.severity is Severity.CRITICAL
    host.mono += 1
    host.accept()
    host.wait(150)
    host.overflow(times=3)
    host.mono += 1
    host.accept()
    assert host.wait(150) == []
    host.restart()
    (resolved,) = host.wait(150)
    assert resolved.kind is Phase.RESOLVED


@pytest.mark.parametrize(
    ("what", "is_silenced"),
    [
        ("all", True),
        ("reason=accept_queue_full", True),
        ("reason=timed_out", False),
        ("unit=shop", True),
        ("process=nginx unit=shop.service", True),
        ("process=psql", False),
        ("10.0.0.5", False),
        (":80", False),
        ("0.0.0.0/0", False),
    ],
)
def test_silences(what: str, *, is_silenced: bool) -> None:
    """By cause, unit and process; what has no address is meant by none, but by `all`."""
    host = Host()
    silenced(host, what)
    assert (host.overflow() == []) is is_silenced
    assert host.incidents.silenced_by["s"] == is_silenced
    host.restart()


def test_a_reason_of_two_kinds_silences_both() -> None:
    """A name that two topics share means the like in both."""
    host = Host()
    silenced(host, "reason=timed_out")
    assert host.overflow(cause=Overflow.TIMED_OUT) == []
    assert host.fail(reason=Reason.TIMED_OUT) == []
    assert host.incidents.silenced_by["s"] == 2


def test_routes() -> None:
    """By cause and unit; by destination where the route means every one."""
    host = Host()
    (opened,) = host.overflow()
    for route, leads in (
        (Route(("x",), reasons=frozenset({"accept_queue_full"})), True),
        (Route(("x",), reasons=frozenset({"refused"})), False),
        (Route(("x",), units=("shop.*",)), True),
        (Route(("x",), destinations=parse_rules("10.0.0.0/8")), False),
        (Route(("x",), destinations=(EVERYTHING,)), True),
    ):
        assert Router([route]).webhooks(opened) == (("x",) if leads else (DEFAULT,))
    digest = storm(Host())
    by_address = Route(("x",), destinations=parse_rules("10.1.0.0/16"))
    assert set(Router([by_address]).webhooks(digest)) == {"x", DEFAULT}


@pytest.mark.parametrize("name", RECEIVERS)
def test_every_kind_of_webhook(name: str) -> None:
    """All messages are rendered, alone and in a storm."""
    host = Host()
    host.overflow()
    host.overflow(times=4)
    host.accept()
    host.wait(600)
    storm(host)
    host.wait(2000)
    render = RECEIVERS[name].renderer()
    for notification in host.told:
        payload = json.dumps(render(notification, Envelope(HOST)), ensure_ascii=False)
        named = "*:80" if notification.subject else "3 listeners"
        assert named in payload or notification.subjects.keys() == {"destination"}


def test_json_fits_its_schema_and_keeps_to_version_1() -> None:
    """What only version 1 had is there, and says nothing that is not so."""
    host = Host()
    (opened,) = host.overflow()
    render = RECEIVERS["json"].renderer()
    for notification in (opened, storm(host)):
        payload = json.loads(json.dumps(render(notification, Envelope(HOST))))
        assert misfits(payload, SCHEMA) == []
    told = json.loads(json.dumps(render(opened, Envelope(HOST))))["notification"]
    assert told["subject"] == {"kind": "listener", "name": "*:80", "port": 80, "netns": 0}
    assert told["subjects"] == {"listener": 1}
    assert told["causes"] == [
        {
            "cause": "accept_queue_full",
            "summary": "the accept queue is full",
            "failures": 1,
            "evidence": {"limit": 511, "drops": 1},
        }
    ]
    assert (told["destination"], told["destinations"]) == (None, 1)
    assert told["reasons"] == [
        {"reason": "accept_queue_full", "failures": 1, "errno": 0, "elapsed": None, "syns": 0}
    ]


def test_alerts_have_labels_of_their_own() -> None:
    """By its kind; a storm of several kinds is called neither."""
    host = Host()
    (opened,) = host.overflow()
    ((alert),) = RECEIVERS["alertmanager"].renderer()(opened, Envelope(HOST))
    assert isinstance(alert, dict)
    assert alert["labels"] == {
        "alertname": "TcpListenerFailing",
        "listener": "*:80",
        "host": HOST,
        "reason": "accept_queue_full",
        "severity": "warning",
        "source": "tcp-trace",
    }
    first = RECEIVERS["alertmanager"].renderer()(storm(Host()), Envelope(HOST))[0]  # type: ignore[index]
    assert first["labels"]["alertname"] == "TcpTraceStorm"


def test_it_waits_in_the_outbox_and_stands(tmp_path: Path) -> None:
    """What the disk gives back is what was put there."""
    host = Host()
    (opened,) = host.overflow()
    digest = storm(host)
    outbox = Outbox(tmp_path / NAME)
    outbox.commit([opened, digest])
    outbox.close()
    again = Outbox(tmp_path / NAME)
    assert [(row.notification if (row := again.take()) else None) for _ in range(2)] == [
        opened,
        digest,
    ]
    again.close()
    standing, loaded = Standing(), Standing()
    standing.note(digest)
    loaded.load(json.loads(json.dumps(standing.dump())), {digest.incident})
    assert loaded.all() == [digest]


def test_it_is_listed(tmp_path: Path) -> None:
    """`tcp-trace incidents` names it, open and ended, alone and in a storm, and in JSON."""
    host = Host()
    host.overflow(443)
    host.wait(1300)
    host.overflow()
    storm(host)
    outbox = Outbox(tmp_path / NAME)
    outbox.commit([], host.incidents.dump(host.now))
    outbox.close()
    text = listing.incidents(tmp_path, listing.Wanted(as_json=False, everything=True, columns=200))
    assert "5 destinations and 3 listeners" in text
    assert "*:443" in text
    assert "accept_queue_full" in text
    told = listing.incidents(tmp_path, listing.Wanted(as_json=True, everything=True, columns=200))
    *others, ended = json.loads(told)["incidents"]
    (digest,) = [each for each in others if each["top"]]
    assert digest["subjects"] == {"destination": 5, "listener": 3}
    assert (digest["destination"], digest["destinations"]) == (None, 8)
    assert (ended["subject"], ended["destination"]) == ("*:443", None)
    assert ended["reasons"] == [["accept_queue_full", 1]]


def test_what_is_not_known_any_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without that kind, an older one say, cannot take up its state; it says so."""
    host = Host()
    (opened,) = host.overflow()
    saved, body = host.incidents.dump(host.now), opened.to_dict()
    monkeypatch.delitem(TOPICS, "listener")
    with pytest.raises(ValueError, match="cannot be read"):
        Incidents.load(json.loads(json.dumps(saved)), host.policy, host.now)
    with pytest.raises(ValueError, match="not a notification"):
        Notification.from_dict(json.loads(json.dumps(body)))
