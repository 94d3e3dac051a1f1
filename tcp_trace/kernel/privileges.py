"""Drops privileges for good, by the kernel's own calls (prctl(2), capabilities(7))."""

from __future__ import annotations

import ctypes as ct
import os
import re
from pathlib import Path
from typing import NamedTuple

from tcp_trace.kernel.libc import libc

# include/uapi/linux/capability.h, as bits
CAP_KILL, CAP_SETPCAP, CAP_SYS_ADMIN = 1 << 5, 1 << 8, 1 << 21
CAP_PERFMON, CAP_BPF = 1 << 38, 1 << 39
_VERSION_3 = 0x20080522

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 2, 4, 8
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 47, 4

_STATUS = Path("/proc/self/status")
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")


class Account(NamedTuple):
    """The account of an unprivileged process: user, group and supplementary groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def become(account: Account, kept: int = 0) -> None:
    """Run as `account` from now on, with no capabilities but those in the bits `kept`.

    No exec restores any, and no process of the same user can look into this one: not by ptrace(2),
    /proc, process_vm_readv(2) or pidfd_getfd(2). Raises OSError.
    """
    death_signal = ct.c_int()
    prctl(PR_GET_PDEATHSIG, ct.addressof(death_signal))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    permitted = held("CapPrm")
    if held("CapEff") & CAP_SETPCAP:
        _bound(kept)
    if os.geteuid() == 0:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        prctl(PR_SET_KEEPCAPS, 1)
        os.setresuid(account.uid, account.uid, account.uid)
    # Before the capabilities go: until now, other processes lacked them and could not look in. A
    # change of user sets this to fs.suid_dumpable.
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _set_capabilities(kept & permitted)
    # A change of user clears it.
    prctl(PR_SET_PDEATHSIG, death_signal.value)


def held(which: str) -> int:
    """Return a capability set of this process, by its name in /proc/PID/status."""
    status = _STATUS.read_text()
    return int(re.search(rf"^{which}:\s*(\w+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]


def may_load_programs() -> bool:
    """Return whether this process may load programs into the kernel."""
    bits = held("CapEff")
    narrow = CAP_BPF | CAP_PERFMON
    return bool(bits & CAP_SYS_ADMIN) or bits & narrow == narrow


def prctl(option: int, argument: int) -> None:
    """Set or read an attribute of this process. Raises OSError."""
    rest = (ct.c_ulong(0),) * 3
    if libc().prctl(ct.c_int(option), ct.c_ulong(argument), *rest) < 0:
        raise OSError(ct.get_errno(), f"prctl({option}): {os.strerror(ct.get_errno())}")


def _bound(kept: int) -> None:
    for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if not kept >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def _set_capabilities(kept: int) -> None:
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = (ct.c_uint32 * 2)(_VERSION_3, 0)
    # effective, permitted, inheritable; first of the capabilities 0 to 31
    data = (ct.c_uint32 * 6)(low, low, 0, high, high, 0)
    if libc().capset(header, data):
        raise OSError(ct.get_errno(), f"capset: {os.strerror(ct.get_errno())}")
