"""Interfaces by name and index, of this host."""

from __future__ import annotations

import socket

from tcp_trace.kernel.netns import ifindex, interface

OTHER = 4_026_532_621


def test_the_index_leads_to_the_name_and_back() -> None:
    """Every interface of this namespace is shown by its name, unless that is a number."""
    for index, name in socket.if_nameindex():
        shown = interface(0, index)
        assert shown == (str(index) if name.isdecimal() else name)
        assert ifindex(0, shown) == index


def test_what_cannot_be_known_is_the_index() -> None:
    """The names of another namespace are not this one's, and what is gone has none."""
    assert interface(OTHER, 1) == "1"
    assert interface(0, 2**31 - 1) == str(2**31 - 1)
    assert ifindex(OTHER, "1") == 1
    assert ifindex(0, "no-such-if") is None


def test_a_socket_that_is_not_bound() -> None:
    """It has no interface, in any namespace."""
    assert (interface(0, 0), interface(OTHER, 0)) == ("", "")
    assert (ifindex(0, ""), ifindex(OTHER, "")) == (0, 0)
