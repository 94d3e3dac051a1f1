"""The C library, for system calls that Python lacks. Loaded on first use."""

from __future__ import annotations

import ctypes as ct
import os
import platform
from functools import cache

# The number of bpf(2)
_BPF = {"x86_64": 321, "ppc64le": 361, "s390x": 351}.get(platform.machine(), 280)


@cache
def libc() -> ct.CDLL:
    """Return the library; `ctypes.get_errno()` has the error of the last call."""
    return ct.CDLL(None, use_errno=True)


def failure() -> OSError:
    """Return the error of the last call, for the caller to raise."""
    return OSError(ct.get_errno(), os.strerror(ct.get_errno()))


def bpf(command: int, attributes: bytes | ct.Array[ct.c_char]) -> int:
    """Call the kernel and return the result, -1 for an error.

    `command` is one of enum bpf_cmd, `attributes` the beginning of union bpf_attr, both of
    include/uapi/linux/bpf.h. Pass a buffer to read what the kernel writes there; bytes are copied.
    """
    size = len(attributes)
    if isinstance(attributes, bytes):
        attributes = ct.create_string_buffer(attributes, size)
    return int(libc().syscall(_BPF, command, attributes, size))
