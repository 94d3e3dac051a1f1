"""What is asked for by name is one thing, whatever addresses it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.watch import parse_meant
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.notify.receivers.alertmanager import Alerts
from tcp_trace.notify.receivers.plainjson import json_payload
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.routing import DEFAULT, Route, Router
from tcp_trace.notify.wording import named
from tests.unit.incidents.incident_world import DATABASE, World
from tests.unit.notify.golden import HOST
from tests.unit.notify.test_webhook_schema import SCHEMA, misfits

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification

NAME = "db.example.com"
SUBJECT = HostPort(NAME, 5432)
OTHER = "replica.example.com"
SIX = [Destination(f"10.0.0.{number}", 5432) for number in range(5, 11)]


def restart(world: World) -> None:
    """Save all of it, and take it up again."""
    saved = json.loads(json.dumps(world.incidents.dump(world.now)))
    world.incidents = Incidents.load(saved, world.policy, world.now)
    assert json.loads(json.dumps(world.incidents.dump(world.now))) == saved


def six_fail() -> tuple[World, list[Notification]]:
    """Let every address of a name fail, several times; return the messages."""
    world = World(recent=1000)
    told = []
    for _ in range(3):
        for address in SIX:
            told += world.fail(address, host=NAME)
    return world, told + world.wait(301)


def test_one_name_with_six_addresses_is_one_incident() -> None:
    """Its messages have the name and port, and the addresses that failed, the latest last."""
    _, told = six_fail()
    assert {n.subject for n in told} == {SUBJECT}
    assert len({n.incident for n in told}) == 1
    assert told[-1].total == 18
    assert told[-1].addresses == tuple(each.address for each in SIX)
    shown = named(SUBJECT, told[-1].hosts, told[-1].addresses)
    assert shown == (
        "db.example.com:5432 (10.0.0.10, 10.0.0.9, 10.0.0.8, 10.0.0.7, 10.0.0.6, 10.0.0.5)"
    )
    (entry,) = six_fail()[0].incidents.overview()
    assert (entry.subject, entry.addresses) == (str(SUBJECT), [each.address for each in SIX])


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("first", [NAME, None])
def test_a_program_that_dials_the_address_joins(first: str | None, *, again: bool) -> None:
    """Whichever of the two fails first, it is one incident, also after a restart."""
    world = World(recent=1000)
    world.fail(host=first)
    if again:
        restart(world)
    assert world.fail(host=None if first else NAME, times=2) == []
    assert world.incidents.failing == 1
    (updated,) = world.wait(301)
    assert (updated.total, updated.hosts) == (3, (NAME,))
    assert updated.addresses == (("10.0.0.5",) if first else ())


@pytest.mark.parametrize(
    "elsewhere",
    [
        DATABASE._replace(port=5433),
        DATABASE._replace(address="10.0.0.6"),
        DATABASE._replace(netns=7),
        DATABASE._replace(interface="red"),
    ],
)
def test_another_place_is_another_incident(elsewhere: Destination) -> None:
    """A failure without a name joins at the same address and port in the same namespace alone."""
    world = World(recent=1000)
    world.fail(host=NAME)
    (other,) = world.fail(elsewhere)
    assert other.subject == elsewhere


def test_two_names_of_an_address_are_two_destinations() -> None:
    """Failures without a name stay with the one that was open first."""
    world = World(recent=1000)
    world.fail(host=NAME)
    (other,) = world.fail(host=OTHER)
    assert other.subject == HostPort(OTHER, 5432)
    assert world.fail(times=5) == []
    totals = {entry.subject: entry.failures for entry in world.incidents.overview()}
    assert totals == {str(SUBJECT): 6, f"{OTHER}:5432": 1}


def test_what_is_over_claims_nothing() -> None:
    """A failure without a name after the end has an incident of its own address."""
    world = World(recent=1000)
    world.fail(host=NAME)
    world.wait(1300)
    assert world.incidents.failing == 0
    (opened,) = world.fail()
    assert opened.subject == DATABASE


def test_programs_get_the_address_that_failed_last() -> None:
    """JSON has the name as the subject, and in `destination` an address, as version 1 had."""
    _, told = six_fail()
    payload = json.loads(json.dumps(json_payload(told[-1], HOST)))
    assert misfits(payload, SCHEMA) == []
    subject = {"kind": "host", "host": NAME, "port": 5432, "netns": 0, "interface": ""}
    sent = payload["notification"]
    assert sent["subject"] == {**subject, "name": str(SUBJECT)}
    assert sent["destination"] == {
        "address": "10.0.0.10", "port": 5432, "netns": 0, "interface": "",
    }  # fmt: skip
    assert (sent["destinations"], sent["subjects"]) == (1, {"host": 1})
    assert sent["addresses"] == [each.address for each in SIX]


def test_a_digest_counts_names_and_addresses_as_one_kind() -> None:
    """Its words know destinations; programs get the kinds, and the last address of each name."""
    world = World(recent=1000)
    for number in range(12):
        host = f"host-{number}.example.com" if number % 3 else None
        world.fail(Destination(f"10.7.0.{number}", 443), host=host)
    restart(world)
    (digest,) = [n for n in world.wait(20) if n.is_digest]
    payload = json.loads(json.dumps(json_payload(digest, HOST)))
    assert misfits(payload, SCHEMA) == []
    assert "8 destinations fail" in payload["text"]
    assert payload["notification"]["subjects"] == {"destination": 2, "host": 6}
    for top in payload["notification"]["top"]:
        assert top["destination"]["address"].startswith("10.7.0.")
    (alert, *_) = Alerts().payload(digest, Envelope(HOST))
    assert alert["labels"]["alertname"] == "TcpConnectStorm"


def test_alertmanager_knows_it_by_its_name() -> None:
    """The label stays the same, whichever address failed last; `host` is this host's."""
    _, told = six_fail()
    alerts = Alerts()
    labels = [alerts.payload(each, Envelope(HOST))[0]["labels"] for each in told]
    assert {label["destination"] for label in labels} == {"db.example.com:5432"}
    assert {label["host"] for label in labels} == {HOST}
    assert "address" not in labels[0]


@pytest.mark.parametrize(
    ("destinations", "leads"),
    [
        ("db.example.com:5432", True),
        ("*.example.com", True),
        ("10.0.0.10", True),
        ("10.0.0.0/29", True),
        ("10.0.0.0/24:5433", False),
        ("10.1.0.0/16", False),
        ("*.example.org", False),
    ],
)
def test_routes(destinations: str, *, leads: bool) -> None:
    """By the name, or by one of the addresses that failed."""
    _, told = six_fail()
    router = Router([Route(("dba",), destinations=parse_meant(destinations))])
    assert router.webhooks(told[-1]) == (("dba",) if leads else (DEFAULT,))


def test_a_long_name_leaves_room_for_the_rest() -> None:
    """A program may ask for any name: its end and the port are shown, and not all of it."""
    subject = HostPort("x" * 500 + ".example.com", 5432)
    shown = named(subject, (), ("10.0.0.5",))
    assert len(shown) < 80
    assert shown.endswith(".example.com:5432 (10.0.0.5)")


def test_what_is_remembered_is_bounded() -> None:
    """Of the addresses of a name the latest are kept."""
    world = World(recent=1000)
    for number in range(100):
        world.fail(Destination(f"10.8.0.{number}", 443), host=NAME)
    (updated,) = world.wait(301)
    assert updated.addresses == tuple(f"10.8.0.{number}" for number in range(92, 100))


def test_a_name_that_is_down_for_half_an_hour_is_two_messages() -> None:
    """With defaults: down within 15 s, by its name, and recovered when any address works."""
    world = World(after=None)
    world.named[SUBJECT] = dict.fromkeys(SIX)
    for each in SIX:
        world.succeed(each)
    world.wait(600)
    began = world.mono
    for second in range(1800):
        world.fail(SIX[second % 6], host=NAME)
        world.wait(1)
    world.succeed(SIX[3])
    world.wait(3600)
    assert [n.kind.value for n in world.told] == ["opened", "resolved"]
    assert {n.subject for n in world.told} == {SUBJECT}
    assert world.told_at[world.told[0].id] - began <= 15
    assert world.told_failures == 1800
