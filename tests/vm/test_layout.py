"""Where the layout of the kernel's structs comes from: hosts without headers, and without BTF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.recipe import LINK_HEADERS
from tests.vm.service import CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Line, Peer, Service

_WITHOUT_BTF = "TemporaryFileSystem=/sys/kernel/btf"
# What docs/TROUBLESHOOTING.md says for such a kernel.
_SHOW_HEADERS = ("ProtectKernelModules=no", "InaccessiblePaths=")
_UNLINK = 'rm -r /usr/src/linux-headers-* "/lib/modules/$(uname -r)"/{build,source}'


@pytest.fixture
def stopped(service: Service) -> Iterator[Service]:
    """Stop the service; afterwards it is started with the unit as it was installed."""
    service.configure()
    service.systemctl("stop")
    yield service
    service.drop_in()
    service.systemctl("stop")


@pytest.fixture
def own_headers(vm: Machine) -> Iterator[None]:
    """Put the running kernel's headers where its package would install them."""
    vm.run(LINK_HEADERS)
    yield
    vm.run(_UNLINK)


@pytest.fixture
def broken_headers(vm: Machine) -> Iterator[None]:
    """Put a tree there that looks like the running kernel's, and that no compiler takes."""
    vm.run(
        """set -e; release=$(uname -r); tree=/usr/src/linux-headers-$release
        mkdir -p $tree/include/{generated,linux}
        for name in generated/autoconf linux/kconfig linux/types linux/version; do
            echo '#error read' > $tree/include/$name.h
        done
        for link in build source; do ln -s $tree /lib/modules/$release/$link; done"""
    )
    yield
    vm.run(_UNLINK)


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


def test_no_headers_are_installed(vm: Machine) -> None:
    """The machine of all these tests has no package of kernel headers, and no link to any."""
    installed = "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' 'linux-*' | grep ' i'"
    assert "linux-image" in vm.run(installed).stdout
    assert "linux-headers" not in vm.run(installed).stdout
    assert vm.run("ls -d /usr/src/linux* /lib/modules/*/{build,source}", check=False).stdout == ""


@pytest.mark.usefixtures("broken_headers")
def test_broken_headers_do_not_matter(stopped: Service, peer: Peer) -> None:
    """With BTF no tree of the host's is read, even where the unit shows it: 23 failures are right.

    Nor is one that root's environment names.
    """
    stopped.drop_in(*_SHOW_HEADERS, "Environment=BCC_KERNEL_SOURCE=/usr/src")
    assert _start(stopped)["layout"] == "btf"
    _assert_told(stopped, peer)
    assert "FAIL" not in stopped.vm.run("tcp-trace check").stdout.upper()


@pytest.mark.usefixtures("own_headers")
def test_without_btf_the_exact_headers_do(stopped: Service, peer: Peer) -> None:
    """On a kernel without BTF the layout comes from its own headers, and 23 failures are right."""
    # All of net/sock.h is compiled: a minute on an emulated machine, more on a busy one.
    stopped.drop_in(_WITHOUT_BTF, *_SHOW_HEADERS, "TimeoutStartSec=5min")
    assert _start(stopped)["layout"] == "headers"
    _assert_told(stopped, peer)


def test_neither_btf_nor_exact_headers_is_a_clear_error(stopped: Service, vm: Machine) -> None:
    """Then the service does not start, and one sentence names the package to install."""
    stopped.drop_in(_WITHOUT_BTF, *_SHOW_HEADERS, "Restart=no")
    assert stopped.systemctl("start", check=False) != 0
    assert stopped.show("ExecMainStatus") == "1"
    release = vm.run("uname -r").stdout.strip()
    (sentence,) = [line for line in stopped.said() if line.startswith("tcp-trace: ")]
    assert f"install the package linux-headers-{release}" in sentence
    assert "Traceback" not in " ".join(stopped.said())


@pytest.mark.usefixtures("own_headers")
def test_the_unit_hides_headers(stopped: Service) -> None:
    """The unit as it is installed sees neither /usr/src nor /lib/modules."""
    _start(stopped)
    root = f"/proc/{stopped.pid}/root"
    shown = stopped.vm.run(f"ls {root}/usr/src {root}/lib/modules")
    assert {line for line in shown.stdout.split() if not line.startswith("/proc")} == set()
