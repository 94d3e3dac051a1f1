"""What the running process may do, and what it holds."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED, LOG_FILE

if TYPE_CHECKING:
    from tests.vm.machine import Machine
    from tests.vm.service import Peer, Receiver, Service

_MAX_RESIDENT_KB = {"5.10": 35 * 1024, "6.1": 35 * 1024, "6.12": 41 * 1024}


@pytest.fixture
def used(service: Service, receiver: Receiver, peer: Peer) -> Service:
    """Let the service have sent a message: it then holds all that it ever needs."""
    address = peer.address()
    service.use()
    service.connects("client", address, CLOSED)
    receiver.wait_for(address)
    return service


def _status(service: Service) -> dict[str, str]:
    text = service.vm.run(f"cat /proc/{service.pid}/status").stdout
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_no_privilege_is_left(used: Service, vm_kernel: str) -> None:
    """It runs as tcp-trace without a capability, and cannot get one (5.10 needs CAP_BPF)."""
    status = _status(used)
    uid = used.vm.run("id -u tcp-trace").stdout.strip()
    assert set(status["Uid"].split()) == {uid}
    held = 1 << 39 if vm_kernel == "5.10" else 0
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status[name], 16) in {0, held}, name
    assert int(status["CapEff"], 16) == held
    # CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN: what could be held at the start. No exec regains them.
    assert int(status["CapBnd"], 16) == 1 << 39 | 1 << 38 | 1 << 21
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_it_is_confined_further(used: Service, vm_kernel: str) -> None:
    """Within what the unit forbids there are filters of its own; 5.10 has no Landlock."""
    (facts,) = [line for line in used.lines() if line["message"] == "watching"][-1:]
    assert facts["seccomp"] is True
    assert facts["landlock"] is (vm_kernel != "5.10")
    shown = used.vm.run(f"ls -l /proc/{used.pid}/environ").stdout
    assert " root root " in shown  # whose process is that user's, but cannot be looked into


def test_the_compiler_is_gone(used: Service, vm_kernel: str) -> None:
    """Nothing of BCC is mapped, and 35 MB are enough, messages and all; 41 for Python 3.13."""
    maps = used.vm.run(f"cat /proc/{used.pid}/maps").stdout
    mapped = {line.split()[5].rpartition("/")[2] for line in maps.splitlines() if "/" in line}
    parts = ("bcc", "bpf", "LLVM", "clang")
    assert not {name for name in mapped if any(part in name for part in parts)}
    resident = int(_status(used)["VmRSS"].split()[0])
    print(f"\nresident: {resident} kB")
    assert resident < _MAX_RESIDENT_KB[vm_kernel]


def test_only_what_is_needed_is_open(used: Service, vm: Machine, vm_kernel: str) -> None:
    """Maps, hooks, log, outbox, what wakes the loop: nothing of stage 1."""
    listing = vm.run(f"find /proc/{used.pid}/fd -type l -printf '%f %l\\n'").stdout
    open_fds = dict(line.split(" ", 1) for line in listing.splitlines())
    kinds = Counter(re.sub(r":\[\d+\]$", "", target) for target in open_fds.values())
    for kind, most in {"bpf_link": 8, "bpf-prog": 4, "bpf-map": 16}.items():
        assert 0 <= kinds.pop(f"anon_inode:{kind}", 0) <= most, kind
    state = "/var/lib/tcp-trace/outbox.db"
    assert kinds == {
        "/dev/null": 1,
        "socket": 4,  # stdout and stderr to the journal, a pair for signals
        "anon_inode:[eventpoll]": 1,
        "anon_inode:[eventfd]": 1,  # news of hosts that are watched by name
        # The kprobe; before 5.14 a second one, on errors.
        "anon_inode:[perf_event]": 1 + (vm_kernel == "5.10"),
        **{state + suffix: 1 for suffix in ("", "-wal", "-shm", ".lock")},
        LOG_FILE: 1,
    }


def test_the_unit_is_hardened(used: Service, vm: Machine) -> None:
    """systemd-analyze rates the exposure of the running unit at 2.0 or lower."""
    assert used.pid
    told = vm.run("systemd-analyze security --no-pager tcp-trace").stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure is not None
    assert float(exposure[1]) <= 2.0
