"""Stop, crash, hang and a wrong configuration, as systemd sees them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Peer, Service

_RESTARTED_WITHIN = 120
# Nothing else in the machine has programs of these types; the kernel program has all of them.
_PROGRAMS = {"kprobe", "raw_tracepoint", "tracing"}
_NOTHING = (0, 0, 0)


def _attached(vm: Machine) -> tuple[int, int, int]:
    """Return how many programs that trace there are in the kernel, of how many maps, and links."""
    programs = json.loads(vm.run("bpftool -j prog show").stdout)
    tracing = [program for program in programs if program["type"] in _PROGRAMS]
    maps = {number for program in tracing for number in program.get("map_ids", [])}
    # systemd has a link of its own, which is of the type tracing, to a program that is not.
    ids = {program["id"] for program in tracing}
    links = json.loads(vm.run("bpftool -j link show").stdout or "[]")
    return len(tracing), len(maps), sum(link["prog_id"] in ids for link in links)


def _wait_until_attached(vm: Machine, expected: tuple[int, int, int]) -> None:
    # The kernel frees links and maps of a process that ended when it gets to it.
    until = time.monotonic() + 60
    while (found := _attached(vm)) != expected:
        assert time.monotonic() < until, found
        time.sleep(0.5)


@pytest.fixture
def restarting(service: Service) -> Iterator[Service]:
    """Let the service run, and mend what a test did to it."""
    service.use()
    yield service
    service.drop_in()
    service.use()


def wait_for_restart(service: Service, old_pid: int) -> None:
    """Wait until systemd has started another process."""
    # In one look: between two the old process may end.
    service.vm.wait_until(
        f"""shown=$(systemctl show -p ActiveState -p MainPID tcp-trace)
        grep -qx ActiveState=active <<<"$shown" && ! grep -Eqx "MainPID=(0|{old_pid})" <<<"$shown"
        """,
        timeout=_RESTARTED_WITHIN,
    )


def _assert_works(service: Service, peer: Peer) -> None:
    address = peer.address()
    service.connects("client", address, CLOSED, "--times", "23")
    assert len(service.wait_for_failures(address, 23)) == 23


def test_sigterm_ends_it_in_time_and_detaches(
    restarting: Service, receiver: Receiver, vm: Machine, peer: Peer
) -> None:
    """With a message that cannot be sent, SIGTERM still ends it: status 0 within the drain time."""
    address = peer.address()
    assert min(_attached(vm)) > 0
    receiver.stop()
    before = restarting.count_lines()
    restarting.connects("client", address, CLOSED)
    restarting.wait_for_lines("notification not sent yet", after=before)
    restarting.systemctl("stop")
    receiver.start()
    # 10 s are for draining; at 20 s systemd would have killed it, and said so here.
    assert (restarting.show("Result"), restarting.show("ExecMainStatus")) == ("success", "0")
    assert [line["message"] for line in restarting.lines(after=before)][-1] == "stopped"
    _wait_until_attached(vm, _NOTHING)


def test_a_hook_that_is_not_run_is_let_go(restarting: Service, vm: Machine, peer: Peer) -> None:
    """Where kprobes are disarmed the start lets go of its own, though the unit hides tracefs."""
    restarting.systemctl("stop")
    armed, before = "/sys/kernel/debug/kprobes/enabled", restarting.count_lines()
    vm.run(f"echo 0 > {armed}")
    try:
        restarting.systemctl("start")
        (watching,) = restarting.wait_for_lines("watching", after=before)
        assert watching["hook"] == "tracepoint"
        assert "is placed but not run" in watching["fallback"]
        _assert_works(restarting, peer)
    finally:
        vm.run(f"echo 1 > {armed}")
        restarting.systemctl("restart")


def test_kill_9_is_survived(restarting: Service, vm: Machine, peer: Peer) -> None:
    """After kill -9 systemd starts it anew; nothing of the old program is left in the kernel."""
    attached, pid = _attached(vm), restarting.pid
    restarting.vm.run(f"kill -9 {pid}")
    vm.wait_until("! bpftool -j prog show | grep -q kprobe_tcp_set")
    wait_for_restart(restarting, pid)
    _wait_until_attached(vm, attached)
    _assert_works(restarting, peer)


def test_the_watchdog_ends_a_service_that_hangs(restarting: Service, peer: Peer) -> None:
    """A process that is stopped answers no watchdog: systemd kills it and starts another."""
    assert restarting.show("WatchdogUSec") == "30s"
    restarting.drop_in("WatchdogSec=10", "TimeoutAbortSec=2")
    restarting.systemctl("restart")
    pid, before = restarting.pid, int(restarting.show("NRestarts"))
    time.sleep(22)  # two of its intervals: one that works is left alone
    assert restarting.pid == pid
    restarting.vm.run(f"kill -STOP {pid}")
    wait_for_restart(restarting, pid)
    assert int(restarting.show("NRestarts")) == before + 1
    assert "Watchdog timeout" in restarting.vm.run("journalctl --no-pager -u tcp-trace").stdout
    _assert_works(restarting, peer)


def test_a_wrong_configuration_is_not_tried_again(restarting: Service) -> None:
    """Errors at the start are told all at once, with status 78, and systemd leaves it at that."""
    restarting.systemctl("stop")
    restarting.configure(DEST_IP="192.0.2.0/99", RING_MB="100", SLACK_URL="hooks.slack.com/x")
    assert restarting.systemctl("start", check=False) != 0
    time.sleep(7)  # RestartSec is 5 s
    assert restarting.show("ActiveState") == "failed"
    assert restarting.show("ExecMainStatus") == "78"
    assert restarting.show("NRestarts") == "0"
    said = restarting.said()
    for name in ("DEST_IP=192.0.2.0/99: ", "RING_MB=100: ", "SLACK_URL: "):
        assert sum(name in line for line in said) == 1, said
    assert "Traceback" not in " ".join(said)
