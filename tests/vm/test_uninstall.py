"""`make uninstall`: what goes and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.machine import CHECKOUT
from tests.vm.service import CLOSED, ENV_FILE, LOG_FILE

if TYPE_CHECKING:
    from tests.vm.machine import Machine
    from tests.vm.service import Peer, Service

_OWN = "find / -xdev -name '*tcp-trace*' -not -path '/opt/*' -not -path '/proc/*'"


def test_uninstall_keeps_configuration_and_logs(vm: Machine, service: Service, peer: Peer) -> None:
    """All but configuration, logs and state is removed; installing again works."""
    service.use()
    vm.run("systemctl enable -q tcp-trace")
    kept = vm.run(f"sha256sum {ENV_FILE}").stdout
    vm.run(f"make -C {CHECKOUT} uninstall")
    assert service.show("LoadState") == "not-found"
    assert vm.run("pgrep -u tcp-trace", check=False).stdout == ""
    left = set(vm.run(_OWN).stdout.split())
    stays = ("/etc/tcp-trace", "/var/log/tcp-trace", "/var/lib/tcp-trace")
    assert [path for path in sorted(left) if not path.startswith(stays)] == []
    assert {ENV_FILE, LOG_FILE} <= left
    assert vm.run(f"sha256sum {ENV_FILE}").stdout == kept

    service.install()
    assert vm.run(f"sha256sum {ENV_FILE}").stdout == kept
    address = peer.address()
    service.use(DEST_IP=address)
    service.connects("again", address, CLOSED, "--times", "23")
    assert len(service.wait_for_failures(address, 23)) == 23
