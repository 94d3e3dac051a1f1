"""Nothing is missed and nothing told twice while systemd restarts, kills and replaces the service.

Connects fail throughout; each has to be in the log once, with its process.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import CHECKOUT
from tests.vm.test_lifecycle import wait_for_restart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.figures import Figures
    from tests.vm.machine import Machine
    from tests.vm.service import Service

A_SECOND, BURST = int(os.environ.get("TCP_TRACE_FAILURES", "200")), 20_000
USERS = 8
_PROGRAM = "/usr/local/lib/tcp-trace/tcp_trace/bpf/connect.c"
_DROP_IN = (
    *("RestartSec=1", "StartLimitBurst=50", "WatchdogSec=0"),
    *("FileDescriptorStoreMax=128", "Environment=FDSTORE=128"),
)
# In a row, before it counts: one that passes now and then is broken.
_CRASHES = int(os.environ.get("TCP_TRACE_CRASHES", "1"))
# Until all lines are written: an emulated machine beside others reads a hundred a second.
_PATIENCE = 600.0


@pytest.fixture(scope="module")
def restarting(service: Service) -> Iterator[Service]:
    """Let the service run, restarted soon by systemd, and mend what the tests did to it."""
    service.configure()
    service.drop_in(*_DROP_IN)
    service.systemctl("restart")
    yield service
    service.systemctl("stop")
    service.drop_in()
    service.use()


class Failing:
    """Connects that fail at an address of their own, of a few users: everybody has a budget."""

    _number = 0

    def __init__(self, vm: Machine, a_second: int, most: int = 0) -> None:
        Failing._number += 1
        self._vm = vm
        self.address = f"127.0.68.{Failing._number}"
        self._file = f"/tmp/failing-{Failing._number}.json"  # noqa: S108 - the machine is ours
        first = 60_000 + Failing._number * USERS
        vm.run(
            f"/usr/bin/python3 {CHECKOUT}/tests/vm/failing.py {self.address} {self._file} "
            f"{USERS} {first} {a_second // USERS} {most // USERS} >/dev/null 2>&1 </dev/null &"
        )

    def stop(self) -> Counter[tuple[int, int, int]]:
        """Return what they made: process, local port and port."""
        self._vm.run("kill $(pgrep -o -f tests/vm/[f]ailing.py)")
        return self.made(30)

    def made(self, timeout: float) -> Counter[tuple[int, int, int]]:
        """Return the same, once they are done."""
        told = json.loads(self._vm.wait_until(f"cat {self._file}", timeout).stdout)
        return Counter((pid, local, port) for pid, made in told for local, port in made)


def restart(service: Service) -> None:
    """Run `systemctl restart`."""
    service.systemctl("restart")


def kill(service: Service) -> None:
    """Send it `kill -9`."""
    pid = service.pid
    service.vm.run(f"kill -9 {pid}")
    wait_for_restart(service, pid)


def hang(service: Service) -> None:
    """Hang: the watchdog kills it."""
    service.drop_in(*_DROP_IN, "WatchdogSec=8", "TimeoutAbortSec=2")
    service.systemctl("restart")
    pid = service.pid
    service.vm.run(f"kill -STOP {pid}")
    wait_for_restart(service, pid)
    service.drop_in(*_DROP_IN)
    service.systemctl("restart")


def crash(service: Service) -> None:
    """Crash three times in a row."""
    for _ in range(3):
        kill(service)


def upgrade(service: Service) -> None:
    """Upgrade to another version of the kernel program."""
    service.vm.run(f"echo '/* another version */' >> {_PROGRAM}")
    service.systemctl("restart")


def assert_told_once(
    service: Service, address: str, made: Counter[tuple[int, int, int]], figure: Figures, what: str
) -> None:
    """Assert that the log has each failure once, with its process."""
    lines = service.wait_for_failures(address, made.total(), _PATIENCE)
    found = Counter((line["pid"], line["lport"], line["dport"]) for line in lines)
    missed, twice = made - found, found - made
    if missed or twice:
        shown = "grep -v '\"connect failed\"' /var/log/tcp-trace/tcp-trace.log | tail -n 30"
        print(service.vm.run(f"{shown}; journalctl --no-pager -u tcp-trace | tail -n 40").stdout)
        time.sleep(60)
        later = Counter((n["pid"], n["lport"], n["dport"]) for n in service.failures(address))
        print(f"a minute later: {(made - later).total()} missed, {(later - made).total()} twice")
        print("first and last missed:", *[sorted(missed)[n] for n in (0, -1) if missed])
    assert (missed.total(), twice.total(), made.total()) == (0, 0, made.total())
    assert {line["times"] for line in lines} == {1}
    figure(
        f"{what} (virtual machine)",
        "nothing; killed within a write: its lines come twice",
        f"{made.total():,} failures: 0 missed, 0 told twice, each with its process",
    )


@pytest.mark.parametrize("mishap", [restart, kill, hang, *[crash] * _CRASHES, upgrade])
def test_each_failure_is_told_once(
    restarting: Service, vm: Machine, mishap: Callable[[Service], None], figure: Figures
) -> None:
    """None missed, none twice, each with its process; the log says why it was compiled anew."""
    before = restarting.count_lines()
    failing = Failing(vm, A_SECOND)
    time.sleep(1)
    mishap(restarting)
    time.sleep(2)
    made = failing.stop()
    what = f"{(mishap.__doc__ or '').rstrip('.')}, with {A_SECOND} failures a second throughout"
    assert_told_once(restarting, failing.address, made, figure, what)
    watching = [line for line in restarting.lines(after=before) if line["message"] == "watching"]
    if mishap is upgrade:
        assert watching[-1]["compiled_anew"] == "the program is another version"
    else:
        assert watching[-1]["taken_over"] == "yes"


def test_a_burst_while_nobody_reads_is_told_by_the_next(
    restarting: Service, vm: Machine, figure: Figures
) -> None:
    """The process stands, and is killed; each is in the log once all the same."""
    pid = restarting.pid
    vm.run(f"kill -STOP {pid}")
    failing = Failing(vm, 0, BURST)
    made = failing.made(_PATIENCE)
    vm.run(f"kill -9 {pid}")
    wait_for_restart(restarting, pid)
    what = f"{BURST:,} failures while the process stands, which is then killed"
    assert_told_once(restarting, failing.address, made, figure, what)


def test_a_start_with_what_is_kept_takes_a_part_of_the_time(restarting: Service) -> None:
    """It compiles nothing. `systemctl stop` lets go of everything."""
    restarting.systemctl("stop")
    assert restarting.show("NFileDescriptorStore") == "0"
    assert "name g_" not in restarting.vm.run("bpftool map show").stdout
    restarting.systemctl("start")
    cold = seconds_to_start(restarting)
    assert int(restarting.show("NFileDescriptorStore")) > 20
    restarting.systemctl("restart")
    warm = seconds_to_start(restarting)
    print(f"\ncold {cold:.1f} s, with what is kept {warm:.1f} s")
    assert warm < cold / 2


def seconds_to_start(service: Service) -> float:
    """Return how long the service took from its beginning until it was ready."""
    times = ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    command = f"systemctl show tcp-trace {' '.join(f'-p {name} --value' for name in times)}"
    began, ready = map(int, service.vm.run(command).stdout.split())
    return abs(ready - began) * 1e-6
