"""Hosts on which a part of what the kernel program is made from is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Line, Peer, Service

_WITHOUT_BTF = "TemporaryFileSystem=/sys/kernel/btf"


@pytest.fixture
def stopped(service: Service) -> Iterator[Service]:
    """Stop the service; afterwards it is started with the unit as it was installed."""
    service.configure()
    service.systemctl("stop")
    yield service
    service.drop_in()
    service.systemctl("stop")


@pytest.fixture
def foreign_headers(vm: Machine) -> Iterator[str]:
    """Make the installed headers another kernel's, with a struct sock that shall not be read."""
    move = """set -e; cd /usr/src; own=linux-headers-$(uname -r)
    sock=$(ls -d linux-headers-*-common/include/net/sock.h)"""
    other = "6.0.0-1-cloud-amd64"
    vm.run(f"{move}; mv $own linux-headers-{other}; sed -i '1i #error read' $sock")
    yield other
    vm.run(f"{move}; mv linux-headers-{other} $own; sed -i 1d $sock")


def _start(service: Service) -> Line:
    """Start the service and return the line that tells how it was started."""
    before = service.count_lines()
    service.systemctl("start")
    lines = service.wait_for_lines("watching", after=before)
    (started,) = [line for line in lines if line["message"] == "watching"]
    return started


def _assert_told(service: Service, peer: Peer) -> None:
    """Whoever read the errno at a wrong offset would not know that these were refused."""
    address = peer.address()
    made = service.connects("client", address, CLOSED, "--times", "23")
    lines = service.wait_for_failures(address, 23)
    assert len(lines) == 23
    assert {(line["reason"], line["errno"], line["pid"], line["dport"]) for line in lines} == {
        ("refused", "ECONNREFUSED", made.pid, CLOSED)
    }


def test_without_btf_the_exact_headers_do(stopped: Service, peer: Peer) -> None:
    """On a kernel without BTF the layout comes from its own headers, and 23 failures are right."""
    # All of net/sock.h is compiled: a minute on an emulated machine, more on a busy one.
    stopped.drop_in(_WITHOUT_BTF, "TimeoutStartSec=5min")
    facts = _start(stopped)
    assert (facts["layout"], facts["headers_exact"]) == ("headers", True)
    _assert_told(stopped, peer)


def test_foreign_headers_do_with_btf(stopped: Service, foreign_headers: str, peer: Peer) -> None:
    """With BTF another kernel's headers do, which one log line says, and 23 failures are right."""
    facts = _start(stopped)
    assert facts["layout"] == "btf"
    assert (facts["headers"], facts["headers_exact"]) == (foreign_headers, False)
    _assert_told(stopped, peer)


def test_neither_btf_nor_exact_headers_is_a_clear_error(
    stopped: Service, vm: Machine, foreign_headers: str
) -> None:
    """Then the service does not start, and one sentence names the package to install."""
    assert foreign_headers
    stopped.drop_in(_WITHOUT_BTF, "Restart=no")
    assert stopped.systemctl("start", check=False) != 0
    assert stopped.show("ExecMainStatus") == "1"
    release = vm.run("uname -r").stdout.strip()
    (sentence,) = [line for line in stopped.said() if line.startswith("tcp-trace: ")]
    assert f"install the package linux-headers-{release}" in sentence
    assert "Traceback" not in " ".join(stopped.said())
