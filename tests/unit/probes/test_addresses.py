"""Addresses as the kernel program has them."""

from __future__ import annotations

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.incidents.subjects import neighbourhood
from tcp_trace.probes.addresses import is_near, pack

NEAR = [
    ("10.0.1.2", "10.0.1.250", True),
    ("10.0.1.2", "10.0.2.2", False),
    ("2001:db8:0:1::2", "2001:db8:0:1:ffff::", True),
    ("2001:db8:0:1::2", "2001:db8:0:2::2", False),
    ("::2", "10.0.1.2", False),
]


@pytest.mark.parametrize(("one", "other", "is_so"), NEAR)
def test_what_is_near(one: str, other: str, *, is_so: bool) -> None:
    """A /24 or a /64, for the kernel's bytes and for incidents alike."""
    assert is_near(pack(one), pack(other)) is is_so
    places = [neighbourhood(Destination(address, 443)) for address in (one, other)]
    assert (places[0] == places[1]) is is_so
    assert places[0] != neighbourhood(Destination(one, 80))
