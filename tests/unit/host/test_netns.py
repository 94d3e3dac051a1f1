"""Interfaces by name and index, of this host, and what its kernel counts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tcp_trace.host import netns
from tcp_trace.host.netns import ifindex, interface

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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


def test_resets_for_want_of_room_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel resets what finds no room in a queue, EmbryonicRsts has that in it, too."""
    (tmp_path / "netstat").write_text("TcpExt: EmbryonicRsts ListenOverflows\nTcpExt: 7 5\n")
    monkeypatch.setattr(netns, "_NETSTAT", tmp_path / "netstat")
    monkeypatch.setattr(netns, "_ABORT_ON_OVERFLOW", tmp_path / "sysctl")
    overflows = []
    for sysctl in ("0\n", "1\n"):
        (tmp_path / "sysctl").write_text(sysctl)
        for counted in (netns.counted_from_now(), netns.counted_until_now()):
            assert counted.embryonic_rsts == 7
            overflows.append(counted.overflows)
    assert overflows == [0, 0, 5, 5]
