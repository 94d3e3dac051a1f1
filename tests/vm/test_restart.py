"""Nothing is missed and nothing told twice while systemd restarts, kills and replaces the service.

Connects fail at 200 a second throughout; each has to be in the log once, with its process.
"""

from __future__ import annotations

import json
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

A_SECOND = 200
_PROGRAM = "/usr/local/lib/tcp-trace/tcp_trace/bpf/connect.c"


@pytest.fixture
def restarting(service: Service) -> Iterator[Service]:
    """Let the service run, restarted soon by systemd, and mend what a test did to it."""
    service.use()
    service.drop_in("RestartSec=1", "WatchdogSec=8", "TimeoutAbortSec=2", "StartLimitBurst=50")
    service.systemctl("restart")
    yield service
    service.drop_in()
    service.use()


class Failing:
    """Connects that fail at an address, of a few users: everybody has a budget."""

    _users = 60_000
    _count = 5

    def __init__(self, vm: Machine) -> None:
        self._vm = vm
        self.address = f"127.0.68.{(Failing._users - 60_000) // self._count + 1}"
        self._files: list[str] = []
        for _ in range(self._count):
            Failing._users += 1
            file = f"/tmp/failing-{Failing._users}.json"  # noqa: S108 - it is a machine of ours
            self._files.append(file)
            vm.run(
                f"setpriv --reuid={Failing._users} --clear-groups /usr/bin/python3 "
                f"{CHECKOUT}/tests/vm/failing.py {self.address} {A_SECOND / self._count} {file} "
                ">/dev/null 2>&1 </dev/null &"
            )

    def stop(self) -> Counter[tuple[int, int, int]]:
        """Return what they made: process, local port and port."""
        self._vm.run("pkill -f tests/vm/[f]ailing.py")
        made: Counter[tuple[int, int, int]] = Counter()
        for file in self._files:
            told = json.loads(self._vm.wait_until(f"cat {file}", 30).stdout)
            made.update((told["pid"], local, port) for local, port in told["made"])
        return made


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
    pid = service.pid
    service.vm.run(f"kill -STOP {pid}")
    wait_for_restart(service, pid)


def crash(service: Service) -> None:
    """Crash three times in a row."""
    for _ in range(3):
        kill(service)


def upgrade(service: Service) -> None:
    """Upgrade to another version of the kernel program."""
    service.vm.run(f"echo '/* another version */' >> {_PROGRAM}")
    service.systemctl("restart")


@pytest.mark.parametrize("mishap", [restart, kill, hang, crash, upgrade])
def test_each_failure_is_told_once(
    restarting: Service, vm: Machine, mishap: Callable[[Service], None], figure: Figures
) -> None:
    """None missed, none twice, each with its process; the log says why it was compiled anew."""
    before = restarting.count_lines()
    failing = Failing(vm)
    time.sleep(1)
    mishap(restarting)
    time.sleep(2)
    made = failing.stop()
    lines = restarting.wait_for_failures(failing.address, made.total())
    found = Counter((line["pid"], line["lport"], line["dport"]) for line in lines)
    assert (made - found, found - made) == (Counter(), Counter())
    assert {line["times"] for line in lines} == {1}
    watching = [line for line in restarting.lines(after=before) if line["message"] == "watching"]
    told = watching[-1]
    if mishap is upgrade:
        assert told["compiled_anew"] == "the program is another version"
    else:
        assert told["taken_over"] == "yes"
    what = (mishap.__doc__ or "").rstrip(".")
    figure(
        f"{what}, with connects that fail at {A_SECOND} a second throughout (virtual machine)",
        "nothing; if killed in the microseconds behind a write: its lines come twice",
        f"{made.total():,} failures: 0 missed, 0 told twice, each with its process",
    )


def test_a_start_with_what_is_kept_takes_a_part_of_the_time(restarting: Service) -> None:
    """It compiles nothing."""
    restarting.systemctl("stop")
    restarting.systemctl("start")
    cold = seconds_to_start(restarting)
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
