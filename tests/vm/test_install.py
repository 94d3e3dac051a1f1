"""`make install` and the first start, as an administrator does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.service import ENV_FILE

if TYPE_CHECKING:
    from tests.vm.machine import Machine
    from tests.vm.service import Service

_INSTALLED = (
    "/usr/local/bin/tcp-trace /usr/local/lib/tcp-trace /usr/local/lib/systemd/system "
    "/usr/lib/sysusers.d /etc/logrotate.d /etc/tcp-trace"
)


def test_installing_again_changes_nothing(vm: Machine, service: Service) -> None:
    """A second `make install` leaves every file as the first one did, and the configuration."""
    service.configure(DEST_IP="192.0.2.0/24")
    sums = f"find {_INSTALLED} -type f ! -name '*.pyc' | sort | xargs sha256sum"
    modes = f"find {_INSTALLED} ! -name '*.pyc' -printf '%p %m %u %g\\n' | sort"
    before = vm.run(f"{sums}; {modes}").stdout
    said = service.install()
    assert vm.run(f"{sums}; {modes}").stdout == before
    assert f"kept: {ENV_FILE}" in said
    assert vm.run(f"stat -c '%a %U %G' {ENV_FILE}").stdout == "640 root tcp-trace\n"


def test_the_service_starts_with_the_kprobe(service: Service) -> None:
    """With HOOK=auto, systemd sees READY once the kprobe is attached, and the log names it."""
    service.use()
    assert service.show("Type") == "notify"
    assert service.show("ActiveState") == "active"
    facts = next(line for line in service.lines() if line["message"] == "watching")
    assert facts["hook"] == "kprobe"
    assert facts["layout"] == "btf"
    assert "fallback" not in facts
    assert facts["kernel"] == service.vm.run("uname -r").stdout.strip()


def test_check_finds_nothing_amiss(vm: Machine, service: Service) -> None:
    """`tcp-trace check` passes on a host that runs the service, and --json tells a program."""
    service.use()
    assert "FAIL" not in vm.run("tcp-trace check").stdout.upper()
    listed = vm.run("tcp-trace check --json | python3 -m json.tool")
    assert '"kprobe on tcp_set_state"' in listed.stdout
