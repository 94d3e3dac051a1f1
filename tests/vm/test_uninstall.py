"""`make uninstall`: what goes and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import CHECKOUT
from tests.vm.service import CLOSED, ENV_FILE, LOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Peer, Service

# The image has files of that name, too: only what came since it was booted counts.
_OWN = (
    "find / -xdev -name '*tcp-trace*' -newerct \"$(uptime -s)\" "
    "-not -path '/opt/*' -not -path '/tmp/*'"
)
_STAYS = ("/etc/tcp-trace", "/var/log/tcp-trace", "/var/lib/tcp-trace")


@pytest.fixture
def installed(service: Service) -> Iterator[Service]:
    """Let the service run, and install it again if the test left it uninstalled."""
    service.use()
    yield service
    service.install()


def test_uninstall_keeps_configuration_and_logs(
    vm: Machine, installed: Service, peer: Peer
) -> None:
    """All but configuration, logs and state is removed; installing again works."""
    vm.run("systemctl enable -q tcp-trace")
    kept = vm.run(f"sha256sum {ENV_FILE}").stdout
    vm.run(f"make -C {CHECKOUT} uninstall")
    assert installed.show("LoadState") == "not-found"
    assert vm.run("pgrep -u tcp-trace", check=False).stdout == ""
    left = set(vm.run(_OWN).stdout.split())
    assert [path for path in sorted(left) if not path.startswith(_STAYS)] == []
    assert {ENV_FILE, LOG_FILE} <= left
    assert vm.run(f"sha256sum {ENV_FILE}").stdout == kept

    installed.install()
    assert vm.run(f"sha256sum {ENV_FILE}").stdout == kept
    address = peer.address()
    installed.use(DEST_IP=address)
    installed.connects("again", address, CLOSED, "--times", "23")
    assert len(installed.wait_for_failures(address, 23)) == 23
