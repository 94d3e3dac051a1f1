"""Routes: who is told of what."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.connects.watch import parse_rules
from tcp_trace.notify.routing import DEFAULT, Route, Router
from tests.unit.notify.golden import OPENED, PSQL, RESOLVED, STORM_OPENED, STORM_RESOLVED, UPDATED

DATABASES = Route(("db",), destinations=parse_rules("10.0.0.0/24:5432, 2001:db8::/32"))


def test_without_routes_everything_goes_to_the_default() -> None:
    """`SLACK_URL` alone is all that most people need."""
    router = Router()
    assert router.webhooks(OPENED) == (DEFAULT,)
    assert router.webhooks(STORM_OPENED) == (DEFAULT,)


@pytest.mark.parametrize(
    ("destination", "goes"),
    [
        (Destination("10.0.0.5", 5432), ("db",)),
        (Destination("10.0.0.5", 5433), (DEFAULT,)),
        (Destination("10.0.1.5", 5432), (DEFAULT,)),
        (Destination("2001:db8::1", 1), ("db",)),
        (Destination("2001:db9::1", 1), (DEFAULT,)),
    ],
)
def test_a_route_is_chosen_by_address_network_and_port(
    destination: Destination, goes: tuple[str, ...]
) -> None:
    """Destinations are written and understood as in DEST_IP."""
    assert Router([DATABASES]).webhooks(replace(OPENED, subject=destination)) == goes


def test_a_route_is_chosen_by_unit_and_by_reason() -> None:
    """Any of the programs and any of the reasons will do; a unit's name may be a pattern."""
    by_unit = Route(("dba",), units=("postgresql@*.service",))
    mine = replace(OPENED, processes=(PSQL, PSQL._replace(unit="postgresql@15-main.service")))
    assert Router([by_unit]).webhooks(mine) == ("dba",)
    assert Router([by_unit]).webhooks(OPENED) == (DEFAULT,)
    by_reason = Route(("net",), reasons=frozenset({"timed_out"}))
    assert Router([by_reason]).webhooks(UPDATED) == ("net",)
    assert Router([by_reason]).webhooks(OPENED) == (DEFAULT,)


def test_all_conditions_must_hold_and_the_first_match_decides() -> None:
    """A narrower route stands before a wider one."""
    narrow = DATABASES._replace(to=("narrow",), reasons=frozenset({"timed_out"}))
    rest = Route(("rest", DEFAULT))
    router = Router([narrow, DATABASES, rest])
    assert router.webhooks(OPENED) == ("db",)
    assert router.webhooks(replace(UPDATED, incident="other")) == ("narrow",)
    elsewhere = replace(OPENED, incident="third", subject=Destination("192.0.2.1", 1))
    assert router.webhooks(elsewhere) == ("rest", DEFAULT)


def test_an_incident_stays_where_it_was_told_first() -> None:
    """A reason that comes in later sends nobody the end of what he never heard of."""
    router = Router([Route(("net",), reasons=frozenset({"timed_out"}))])
    assert router.webhooks(OPENED) == (DEFAULT,)
    assert router.webhooks(UPDATED) == (DEFAULT,)
    assert router.goes_to(OPENED.incident, DEFAULT)
    assert router.webhooks(RESOLVED) == (DEFAULT,)
    assert not router.goes_to(OPENED.incident, DEFAULT)
    assert router.webhooks(UPDATED) == ("net",)


def test_a_storm_goes_wherever_its_destinations_would() -> None:
    """Also to those who were told of an incident that the storm takes over."""
    first = Route(("first",), destinations=parse_rules("10.0.0.5:443"))
    router = Router([first, DATABASES])
    absorbed = replace(OPENED, incident=STORM_OPENED.absorbed[0])
    assert router.webhooks(absorbed) == ("db",)
    assert router.webhooks(STORM_OPENED) == ("first", DEFAULT, "db")
    assert router.webhooks(STORM_RESOLVED) == ("first", DEFAULT, "db")


def test_decisions_survive_a_restart_and_a_change_of_routes() -> None:
    """What led to a webhook that is gone is decided anew; what ended meanwhile is forgotten."""
    router = Router([DATABASES])
    router.webhooks(OPENED)
    saved = json.loads(json.dumps(router.dump()))
    again = Router([])
    again.load(saved, {OPENED.incident})
    assert again.webhooks(UPDATED) == ("db",)
    again.replace([], {DEFAULT})
    assert again.webhooks(UPDATED) == (DEFAULT,)
    other = Router([])
    other.load(saved, {"another"})
    assert other.dump() == {}


def test_what_is_remembered_is_bounded() -> None:
    """Incidents whose end never comes are forgotten some day."""
    router = Router()
    for number in range(10_005):
        router.webhooks(replace(OPENED, incident=str(number)))
    assert len(router.dump()) == 10_000
