"""The agenda: each account is looked at once, at its earliest time."""

from __future__ import annotations

from math import inf

from tcp_trace.incidents.agenda import Agenda
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.policy import Policy
from tcp_trace.incidents.tally import Tally
from tests.unit.incidents.incident_world import destination


def incident(number: int) -> Incident:
    """Return an incident without failures."""
    return Incident(Policy(), Tally(0.0, 0.0), str(number), 1, destination(number))


def test_the_earliest_time_counts() -> None:
    """What is planned again for earlier is due then, and only once; for later, it stays."""
    agenda, one, two = Agenda(), incident(1), incident(2)
    agenda.plan(one, 30.0)
    agenda.plan(two, 20.0)
    agenda.plan(one, 10.0)
    agenda.plan(one, 40.0)
    assert agenda.next() == 10.0
    assert agenda.due(9.9) == []
    assert agenda.due(25.0) == [one, two]
    assert agenda.next() is None
    assert agenda.due(100.0) == []


def test_what_nobody_looks_at_any_more_is_void() -> None:
    """An account that was taken over is not due, and what is due can be planned again."""
    agenda, one, two = Agenda(), incident(1), incident(2)
    agenda.plan(one, 10.0)
    agenda.plan(two, 10.0)
    one.wake = -inf
    assert agenda.due(10.0) == [two]
    agenda.plan(two, 10.0)
    assert agenda.due(10.0) == [two]
