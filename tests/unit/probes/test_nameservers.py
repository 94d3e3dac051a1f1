"""Which name servers this host is configured with, out of real files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.probes.nameservers import NameServers, configured
from tcp_trace.probes.shapes import NAME_SERVERS_MAX

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        (
            "nameserver 10.0.0.53\nnameserver 2001:db8::53\n",
            {("10.0.0.53", 0), ("2001:db8::53", 0)},
        ),
        ("  nameserver\t10.0.0.53 # the first\n", {("10.0.0.53", 0)}),
        ("nameserver 2001:DB8:0::53", {("2001:db8::53", 0)}),
        ("nameserver ::ffff:10.0.0.53", {("::ffff:10.0.0.53", 0)}),
        ("nameserver fe80::1%lo", {("fe80::1", 1)}),
        ("nameserver fe80::1%7", {("fe80::1", 7)}),
        ("nameserver fe80::1%gone0\nnameserver 10.0.0.1", {("10.0.0.1", 0)}),
        ("nameserver 10.53", {("10.0.0.53", 0)}),
        ("#nameserver 10.0.0.1\n; nameserver 10.0.0.2\nnameserver\n", {("127.0.0.1", 0)}),
        ("nameserver example.com\nnameserver \xff\0", {("127.0.0.1", 0)}),
        ("search example.com", {("127.0.0.1", 0)}),
        ("", {("127.0.0.1", 0)}),
        (None, {("127.0.0.1", 0)}),
    ],
)
def test_resolv_conf(tmp_path: Path, text: str | None, servers: set[tuple[str, int]]) -> None:
    """What the C library would ask; where nothing is configured, this host itself."""
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    assert configured(file, tmp_path / "absent") == servers


def test_systemd_resolved(tmp_path: Path) -> None:
    """Where it runs, its stubs and those whom it asks are name servers, too."""
    stub, upstreams = tmp_path / "stub", tmp_path / "upstreams"
    stub.write_text("nameserver 127.0.0.53\n")
    upstreams.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    assert {address for address, _ in configured(stub, upstreams)} == {
        *("127.0.0.53", "127.0.0.54"),
        *("192.0.2.1", "2001:db8::1"),
    }


def test_bounds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A huge file is read in part, an unreadable one is said once; neither ends the service."""
    file = tmp_path / "resolv.conf"
    file.write_text("".join(f"nameserver 10.0.{n >> 8}.{n & 255}\n" for n in range(9_999)))
    assert len(configured(file, tmp_path / "absent")) == NAME_SERVERS_MAX
    assert configured(tmp_path, tmp_path / "absent") == {("127.0.0.1", 0)}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: Is a directory; its name servers are unknown"
    ]


def test_without_a_map_nothing_is_read(tmp_path: Path) -> None:
    """Where the kernel program learns no names, the files do not matter."""
    NameServers(None, tmp_path, tmp_path).refresh()
