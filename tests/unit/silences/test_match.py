"""What a match means, and what is none."""

from __future__ import annotations

import json

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.connects.maker import Maker
from tcp_trace.silences.match import Match, parse_match, parse_process
from tcp_trace.silences.silences import Silence
from tests.unit.silences.test_silences import FAILURE

CONTAINER = "3f2a9c013f2a" + "0" * 52


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("10.0.0.5:5432", True),
        ("10.0.0.5", True),
        ("10.0.0.0/24,192.0.2.1", True),
        (":5432", True),
        ("all", True),
        ("10.0.0.5:5433", False),
        ("10.0.0.6", False),
        ("2001:db8::/32", False),
        ("process=psql", True),
        ("process=ps*", True),
        ("process=sql", False),
        ("unit=shop", True),
        ("unit=shop.*", True),
        ("unit=web.service", False),
        ("reason=refused", True),
        ("reason=timed_out reason=REFUSED", True),
        ("reason=timed_out", False),
        ("10.0.0.5 process=psql unit=shop reason=refused", True),
        ("10.0.0.5 process=psql unit=shop reason=reset", False),
        ("10.0.0.5 process=psql unit=web reason=refused", False),
        ("10.0.0.5 process=x unit=shop reason=refused", False),
        ("10.0.0.6 process=psql unit=shop reason=refused", False),
    ],
)
def test_what_a_match_means(text: str, *, fits: bool) -> None:
    """A failure must fit one of each kind that is named, and a match reads back as it is shown."""
    match = parse_match(text)
    assert match.fits(FAILURE) is fits
    assert parse_match(str(match)) == match


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("db.example.com:5432", True),
        ("DB.Example.com.", True),
        ("*.example.com", True),
        ("10.9.9.9,d?.example.com:5432", True),
        ("db:5432", False),
        ("db.example.com:5433", False),
        ("example.com", False),
        ("*.db.example.com", False),
        ("10.0.0.0/24:5432", True),
        (":5432", True),
        ("10.0.1.0/24", False),
        ("pod=6fd9*", True),
        ("pod=6fd9", False),
        ("container=3f2a9c013f2a", True),
        ("container=3f2a*", True),
        (f"container=containerd://{CONTAINER}", True),
        (f"container={CONTAINER}", True),
        ("container=9c01*", False),
        ("*.example.com pod=6fd9* container=3f2a*", True),
        ("*.example.com pod=6fd9* container=4*", False),
    ],
)
def test_names_pods_and_containers(text: str, *, fits: bool) -> None:
    """A name is meant as well as its address; a container by its id in whatever length."""
    pod = Maker(pod="6fd9c0de-1111-4222-8333-444455556666", container=f"containerd://{CONTAINER}")
    match = parse_match(text)
    assert match.fits(FAILURE._replace(host="db.example.com", maker=pod)) is fits
    assert parse_match(str(match)) == match


def test_a_failure_is_meant_by_all_that_is_known_of_it() -> None:
    """By its name and address, and by the name of the incident that it belongs to."""
    by_name, by_address = parse_match("db.example.com:5432"), parse_match("10.0.0.5:5432")
    named = FAILURE._replace(host="db.example.com")
    for failure in (
        named,
        named.belonging_to(named.destination),
        FAILURE.belonging_to(named.destination.named("db.example.com")),
    ):
        assert by_name.fits(failure)
        assert by_address.fits(failure)
    assert not by_name.fits(FAILURE)
    forged = FAILURE._replace(host="10.9.9.9")
    assert not parse_match("10.9.9.9").fits(forged)


def test_ipv6_and_unknown_makers() -> None:
    """IPv6 destinations fit their networks; nobody's failures fit no process and no unit."""
    failure = FAILURE._replace(destination=Destination("2001:db8::7", 443), maker=Maker())
    assert parse_match("[2001:db8::]/32:443").fits(failure)
    assert not parse_match("10.0.0.0/8").fits(failure)
    assert not parse_match("unit=*").fits(failure)
    assert not parse_match("process=*").fits(failure._replace(process=None))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to silence is named"),
        ("10.0.0.5:0", "port must be a number"),
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("*", "no address, network or host name; write it like 10.0.0.0/8, db.example.com:5432"),
        ("*:5432", "no address, network or host name"),
        ("10.0.0.*", "no address, network or host name"),
        ("daliy", "no address, network or host name"),
        ("db.example.com/24", "no address, network or host name"),
        ("db.example.com:0", "port must be a number"),
        ("d\u0131b.example.com", "no address, network or host name"),
        ("user=root", "destination, process=..., unit=..., pod=..., container=... or reason=..."),
        ("process=", "write a destination"),
        ("reason=broken", "write one of refused, timed_out"),
        ("process=a-name-that-is-too-long", "the kernel keeps 15 bytes of a name; write a-name"),
        ("unit=\u202e", "no unit"),
        ("pod=\u202e", "no pod; write its id as messages show it, or 3f2a*"),
        ("container=", "write a destination"),
    ],
)
def test_what_is_not_understood(text: str, words: str) -> None:
    """A word that cannot be meant is refused with a sentence that says what to write."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_match(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_long_process_name_is_cut_between_characters() -> None:
    """The name proposed for one that is too long is text, whatever is cut."""
    with pytest.raises(ValueError, match=r"write ööööööö$"):
        parse_process("ö" * 8)


def test_a_silence_is_json() -> None:
    """A silence survives JSON, and what is none is a ValueError."""
    one = Silence("a1b2", parse_match("10.0.0.0/8 process=psql"), 5.0, 6.5, "why <!channel>")
    assert Silence.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    for broken in ({}, {**one.to_dict(), "ends": None}, {**one.to_dict(), "match": ""}):
        with pytest.raises(ValueError, match="silence"):
            Silence.from_dict(broken)


def test_match_without_conditions_fits_all() -> None:
    """An empty kind fits everything."""
    assert Match().fits(FAILURE)
