"""The C library, for system calls that Python has none for. Loaded when it is first used."""

from __future__ import annotations

import ctypes as ct
import os
import platform
from functools import cache

# The number of bpf(2)
_BPF = {"x86_64": 321, "ppc64le": 361, "s390x": 351}.get(platform.machine(), 280)


@cache
def libc() -> ct.CDLL:
    """Return it; `ctypes.get_errno()` has the error of the last call."""
    return ct.CDLL(None, use_errno=True)


def failure() -> OSError:
    """Return the error of the last call, to be raised."""
    return OSError(ct.get_errno(), os.strerror(ct.get_errno()))


def bpf(command: int, attributes: bytes | ct.Array[ct.c_char]) -> int:
    """Make the system call and return its result, -1 for an error.

    `command` is one of enum bpf_cmd, `attributes` the beginning of union bpf_attr, both of
    include/uapi/linux/bpf.h. What the kernel writes there can be read in a buffer alone.
    """
    size = len(attributes)
    if isinstance(attributes, bytes):
        attributes = ct.create_string_buffer(attributes, size)
    return int(libc().syscall(_BPF, command, attributes, size))
