"""Limits stage 2 even if an attacker controls it: seccomp(2) and landlock(7).

The systemd unit forbids much of this, too. This also holds if the service is started by hand, and
where it keeps CAP_BPF (below Linux 6.0).
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import struct
from typing import TYPE_CHECKING

from tcp_trace.kernel.libc import failure, libc

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

# include/uapi/linux/bpf.h, enum bpf_cmd: the four on map elements, and batched look-ups
_BPF_ALLOWED = (1, 2, 3, 4, 24, 25)
_FORBIDDEN = (
    *("perf_event_open", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("pidfd_getfd", "kcmp", "userfaultfd", "unshare", "setns", "pivot_root", "chroot"),
    *("mount", "umount2", "move_mount", "open_tree", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("add_key", "keyctl", "request_key"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
)
_EXEC = ("execve", "execveat")
# asm-generic/ioctls.h: these insert input into a terminal, which a shell then reads.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# include/uapi/linux/sched.h: a namespace of each kind
_CLONE_NEW = (0x80, 0x20000, 0x2000000, *(1 << bit for bit in range(26, 31)))

# seccomp.h of libseccomp
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQ, _GT, _MASKED_EQ = 4, 6, 7
_UNKNOWN = -1

# include/uapi/linux/landlock.h. The system calls have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_READ = 1 << 2 | 1 << 3
_BENEATH = struct.Struct("=Qi")  # struct landlock_path_beneath_attr, which is packed
# The number of rights (bits), by the version of the interface.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_RIGHTS_MOST = 16
# WRITE_FILE, TRUNCATE, and the rights to create and remove anything but devices: whatever stands in
# the place of a log is moved aside, and moving a link takes the right to create one.
_WRITE = sum(1 << bit for bit in (1, 4, 5, 7, 8, 9, 10, 12, 14))


class ConfinementError(Exception):
    """The filter cannot be made on this host; the text says why and what to do."""


class _Compare(ct.Structure):
    """A condition on one argument: `struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ct.c_uint),
        ("operator", ct.c_int),
        ("datum", ct.c_uint64),
        ("other", ct.c_uint64),
    )


class _Filter:
    """A libseccomp filter that allows every system call it does not refuse."""

    def __init__(self) -> None:
        try:
            self._lib = ct.CDLL("libseccomp.so.2")
        except OSError:
            raise ConfinementError(
                "libseccomp.so.2 cannot be loaded: apt install libseccomp2"
            ) from None
        self._lib.seccomp_init.restype = ct.c_void_p
        self._made = ct.c_void_p(self._lib.seccomp_init(ct.c_uint32(_ALLOW)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.seccomp_release(self._made)

    def refuse(self, name: str, *compare: _Compare, error: int = errno.EPERM) -> None:
        """Let a system call fail if its arguments match. Unknown system calls are skipped.

        Raises ConfinementError.
        """
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            return
        action = ct.c_uint32(_ERRNO | error)
        conditions = (_Compare * len(compare))(*compare)
        failed = self._lib.seccomp_rule_add_array(
            self._made, action, number, len(compare), conditions
        )
        if failed:
            raise ConfinementError(
                f"libseccomp refuses the rule for {name}: {os.strerror(-failed)}"
            )

    def load(self) -> bool:
        """Put it into force; return False if the kernel has no seccomp filters."""
        failed: int = self._lib.seccomp_load(self._made)
        # libseccomp 2.5 reports every kernel error as ECANCELED.
        return not failed


def forbid() -> bool:
    """Take from this process, for good, the system calls that stage 2 never needs.

    They fail with EPERM. Returns False if the kernel has no seccomp filters. Raises
    ConfinementError.
    """
    with _Filter() as made:
        for name in _FORBIDDEN:
            made.refuse(name)
        for command in set(range(max(_BPF_ALLOWED))) - set(_BPF_ALLOWED):
            made.refuse("bpf", _Compare(0, _EQ, command))
        # The kernel ignores the upper half of the command, so refuse all larger numbers, too.
        made.refuse("bpf", _Compare(0, _GT, max(_BPF_ALLOWED)))
        for request in (_TIOCSTI, _TIOCLINUX):
            made.refuse("ioctl", _Compare(1, _MASKED_EQ, 0xFFFFFFFF, request))
        for flag in _CLONE_NEW:
            made.refuse("clone", _Compare(0, _MASKED_EQ, flag, flag))
        # Its flags are in memory, which a filter cannot read; on ENOSYS the C library calls clone.
        made.refuse("clone3", error=errno.ENOSYS)
        return made.load()


def forbid_exec() -> bool:
    """Take from this process, for good, the calls that execute a program; see `forbid`."""
    with _Filter() as made:
        for name in _EXEC:
            made.refuse(name)
        return made.load()


def restrict_writes(directories: Iterable[Path]) -> bool:
    """Let this process change files only below these directories, and execute none.

    Returns False if the kernel has no Landlock (before 5.13, or not among its LSMs). A directory
    that does not exist is left out.
    """
    version = libc().syscall(_CREATE_RULESET, None, ct.c_size_t(0), _VERSION)
    if version < 1:
        return False
    handled = (1 << _RIGHTS.get(version, _RIGHTS_MOST)) - 1 & ~_READ
    attributes = ct.c_uint64(handled)
    ruleset = libc().syscall(_CREATE_RULESET, ct.byref(attributes), ct.c_size_t(8), 0)
    _check(ruleset)
    try:
        for directory in directories:
            _permit(ruleset, directory, handled & _WRITE)
        _check(libc().prctl(38, ct.c_ulong(1), *(ct.c_ulong(0),) * 3))
        _check(libc().syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _permit(ruleset: int, directory: Path, rights: int) -> None:
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # a directory that cannot be opened cannot be written to
        return
    try:
        rule = _BENEATH.pack(rights, fd)
        _check(libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(fd)


def _check(result: int) -> None:
    if result < 0:
        raise failure()
