"""Routes: who is told of what."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.connects.watch import parse_rules
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.notify.routing import DEFAULT, Messages, Route, Router
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


@pytest.mark.parametrize(
    ("route", "goes"),
    [
        (Route(("x",), pods=("6fd9*",)), True),
        (Route(("x",), pods=("7*",)), False),
        (Route(("x",), containers=("3f2a9c013f2a",)), True),
        (Route(("x",), containers=("containerd://3f2a*",)), True),
        (Route(("x",), containers=("9c01*",)), False),
        (Route(("x",), pods=("6fd9*",), units=("shop.service",)), False),
    ],
)
def test_a_route_is_chosen_by_pod_and_container(route: Route, *, goes: bool) -> None:
    """A container by its id as messages show it, or in full."""
    container = f"containerd://3f2a9c013f2a{'0' * 52}"
    program = PSQL._replace(unit=None, pod="6fd9c0de-1111-4222-8333-444455556666")
    mine = replace(OPENED, processes=(program._replace(container=container),))
    assert Router([route]).webhooks(mine) == (("x",) if goes else (DEFAULT,))
    assert Router([route]).webhooks(OPENED) == (DEFAULT,)


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


PAGER = Route(("pager", "team"), min_severity=Severity.CRITICAL)
TEAM = Route(("team",))
WARNING, CRITICAL = (
    replace(UPDATED, severity=severity) for severity in (Severity.WARNING, Severity.CRITICAL)
)


def test_a_pager_hears_of_an_incident_once_it_is_critical() -> None:
    """From then on until its end, also when it is a warning again; the team hears all of it."""
    router = Router([PAGER, TEAM])
    opened = replace(OPENED, severity=Severity.WARNING)
    assert router.webhooks(opened) == ("team",)
    assert router.webhooks(WARNING) == ("team",)
    assert set(router.webhooks(CRITICAL)) == {"team", "pager"}
    assert set(router.webhooks(WARNING)) == {"team", "pager"}
    again = Router([PAGER, TEAM])
    again.load(json.loads(json.dumps(router.dump())), {OPENED.incident})
    assert set(again.webhooks(replace(RESOLVED, severity=Severity.WARNING))) == {"team", "pager"}


def test_a_pager_hears_nothing_of_what_never_was_critical() -> None:
    """Not even that it is over."""
    router = Router([PAGER])
    opened = replace(OPENED, severity=Severity.WARNING)
    assert router.webhooks(opened) == (DEFAULT,)
    assert router.webhooks(replace(RESOLVED, severity=Severity.WARNING)) == (DEFAULT,)


DAILY = replace(
    STORM_RESOLVED, kind=Phase.DAILY, severity=Severity.INFO, incident="daily", absorbed=()
)


def test_a_channel_gets_the_digest_and_nothing_else() -> None:
    """And incidents go where they would go without it."""
    router = Router([Route(("quiet",), messages=Messages.DIGEST), DATABASES])
    assert router.webhooks(DAILY) == ("quiet",)
    assert router.webhooks(OPENED) == ("db",)


@pytest.mark.parametrize(
    ("routes", "goes"),
    [
        ([], (DEFAULT,)),
        ([DATABASES, PAGER], (DEFAULT,)),
        ([PAGER, TEAM], ("team",)),
        ([Route(("team",), messages=Messages.INCIDENTS), Route(("rest",))], ("rest",)),
    ],
)
def test_the_digest_goes_where_no_condition_is(routes: list[Route], goes: tuple[str, ...]) -> None:
    """It is of no destination, unit or reason, and not severe."""
    assert Router(routes).webhooks(DAILY) == goes


def test_messages_show_the_runbook_of_their_route() -> None:
    """Also the digest of a day; elsewhere there is none."""
    runbook = "https://wiki.example.org/database"
    router = Router([DATABASES._replace(runbook=runbook)])
    assert router.addressed(OPENED).runbook == runbook
    elsewhere = replace(OPENED, subject=Destination("192.0.2.1", 1))
    assert not router.addressed(elsewhere).runbook
    assert not router.addressed(DAILY).runbook
    assert Router([Route(("a",), runbook=runbook)]).addressed(DAILY).runbook == runbook
