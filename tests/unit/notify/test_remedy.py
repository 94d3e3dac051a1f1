"""Commands that people copy out of messages into a root shell."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.commands import silencing
from tcp_trace.commands.parser import build
from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.incidents.notification import Notification, Phase, Severity
from tcp_trace.notify.receivers.slack import slack_payload
from tcp_trace.notify.remedy import silence
from tests.unit.notify.golden import (
    DOWN,
    EXPLORED,
    HOST,
    OPENED,
    PSQL,
    REMINDED_OFTEN,
    SAMPLES,
    STORM_OPENED,
    UNTRIED,
)

ADD = "sudo tcp-trace silence add"


@pytest.mark.parametrize(
    ("notification", "command"),
    [
        (DOWN, f"{ADD} --for 2h 10.0.0.5:5432"),
        (
            replace(DOWN, subject=Destination("2001:db8::1", 443, interface="eth0")),
            f"{ADD} --for 2h '[2001:db8::1]:443'",
        ),
        (UNTRIED, f"{ADD} --for 2h db.example.com:5432"),
        (
            replace(UNTRIED, subject=HostPort("a`$(b):c.example.com", 443)),
            f"{ADD} --for 2h 'a???b??c.example.com:443'",
        ),
        (
            replace(UNTRIED, subject=HostPort("--a@b.example.com", 443), reminders=3),
            f"{ADD} --for 2h '?-a?b.example.com:443'",
        ),
        (replace(EXPLORED, reminders=3), f"{ADD} --for 2h --process 'scan?it'"),
        (REMINDED_OFTEN, f"{ADD} --until-recovered 10.0.0.5:5432"),
        (replace(REMINDED_OFTEN, reminders=2), f"{ADD} --for 2h 10.0.0.5:5432"),
        (EXPLORED, f"{ADD} --for 2h --process 'scan?it'"),
        (
            replace(EXPLORED, processes=(PSQL._replace(unit="backup@a\\x2d.service"),)),
            f"{ADD} --for 2h --unit 'backup@a?x2d.service'",
        ),
    ],
)
def test_the_command(notification: Notification, command: str) -> None:
    """It means the subject, or the one program of a digest, and lasts until it is known."""
    found = silence(notification)
    assert found is not None
    assert found[1] == command
    assert f"`{command}`" in slack_payload(notification, HOST)["text"]
    check(command)


def check(command: str) -> None:
    """Check that the program takes it."""
    given = build(with_variables=False).parse_args(shlex.split(command)[2:])
    match = silencing._match(given)
    if given.until_recovered:
        silencing._check_is_single(match)


@pytest.mark.parametrize(
    "notification",
    [
        *(replace(DOWN, kind=kind) for kind in Phase if kind.is_last),
        replace(EXPLORED, severity=Severity.CRITICAL),
        replace(EXPLORED, unlisted=1),
        replace(EXPLORED, processes=(PSQL, PSQL)),
        replace(EXPLORED, processes=(PSQL._replace(comm="\u202e`$("),)),
        STORM_OPENED,
        replace(OPENED, subject=Destination("a b", 1)),
    ],
)
def test_no_command(notification: Notification) -> None:
    """Where nothing follows, where it would silence more than one means, and for an odd name."""
    assert silence(notification) is None
    assert "silence add" not in slack_payload(notification, HOST)["text"]


@given(st.text(max_size=20), st.text(max_size=15), st.none() | st.text(max_size=20))
def test_no_name_can_do_anything_in_a_shell(place: str, comm: str, unit: str | None) -> None:
    """Whatever it is, the command is taken, and shown as it is to be pasted."""
    for notification in (
        replace(DOWN, subject=Destination("2001:db8::5", 443)),
        replace(DOWN, subject=Destination("10.0.0.5", 443), reminders=3),
        replace(DOWN, subject=HostPort(place, 443), reminders=3),
        replace(DOWN, subject=HostPort(place, 443)),
        replace(EXPLORED, processes=(PSQL._replace(comm=comm, unit=unit),)),
    ):
        found = silence(notification)
        if found is not None:
            command = found[1]
            assert not set('`$;|&<>\\"\n(){}~!#*') & set(command)
            assert command.isascii()
            check(command)
            assert f"`{command}`" in slack_payload(notification, HOST)["text"]


def test_every_open_incident_has_one() -> None:
    """Of a subject with an address."""
    for notification, _ in SAMPLES.values():
        if not notification.is_digest:
            assert (silence(notification) is None) is notification.kind.is_last
