"""Whether the kernel let BPF programs see what happened: a witness that is not the service.

A kernel may keep its tracepoints from all BPF programs while some of its processes are on the CPU;
sandboxes protect their own first process so. What then ends in an interrupt is told to perf, but
to no BPF program, and is not even counted as missed. A run during which that happened says nothing
about the service. So a BPF program that does nothing is attached beside the service's: the kernel
counts how often it was run, and perf how often the tracepoint was passed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tests.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACEPOINT = "sock/inet_sock_set_state"

_SYS_BPF, _SYS_PERF_EVENT_OPEN = {"x86_64": (321, 298), "aarch64": (280, 241)}[platform.machine()]
_PROG_LOAD, _RAW_TRACEPOINT_OPEN, _ENABLE_STATS = 5, 17, 32  # enum bpf_cmd
_RAW_TRACEPOINT = 17  # enum bpf_prog_type
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
_PERF_TYPE_TRACEPOINT, _PERF_ATTR_SIZE, _PERF_FLAG_FD_CLOEXEC = 2, 64, 8


class Witness:
    """Counts since it was made, by the descriptors of a program and of perf's counters."""

    def __init__(self, program: int, counters: list[int]) -> None:
        self._program, self._counters = program, counters
        self._before = self._passed() - self._told()

    def kept_back(self) -> int:
        """Return how many passes of the tracepoint were kept from BPF programs."""
        while True:
            passed = self._passed()
            kept = passed - self._told() - self._before
            if passed == self._passed():  # nothing happened while both were read
                return kept
            time.sleep(0.01)

    def _passed(self) -> int:
        return sum(struct.unpack("=Q", os.read(fd, 8))[0] for fd in self._counters)

    def _told(self) -> int:
        """How often the program was run, or known not to be since it was running already."""
        text = Path(f"/proc/self/fdinfo/{self._program}").read_text()
        counts = dict(re.findall(r"^(run_cnt|recursion_misses):\s*(\d+)$", text, re.MULTILINE))
        return int(counts["run_cnt"]) + int(counts.get("recursion_misses", 0))


@contextlib.contextmanager
def watching() -> Iterator[Witness]:
    """Watch while the block runs."""
    with contextlib.ExitStack() as stack:
        _opened(stack, _bpf(_ENABLE_STATS, struct.pack("=II", 0, 0)))
        program = _opened(stack, _load())
        name = ctypes.create_string_buffer(Path(TRACEPOINT).name.encode())
        attributes = struct.pack("=QII", ctypes.addressof(name), program, 0)
        _opened(stack, _bpf(_RAW_TRACEPOINT_OPEN, attributes))
        number = _tracepoint_number()
        cpus = range(os.cpu_count() or 1)
        yield Witness(program, [_opened(stack, _count(number, cpu)) for cpu in cpus])


def _opened(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _checked(LIBC.syscall(_SYS_BPF, command, buffer, len(attributes)), "bpf")


def _load() -> int:
    code, terms = ctypes.create_string_buffer(_RETURN_0), ctypes.create_string_buffer(b"GPL")
    at = (ctypes.addressof(code), ctypes.addressof(terms))
    return _bpf(_PROG_LOAD, struct.pack("=IIQQIIQ", _RAW_TRACEPOINT, 2, *at, 0, 0, 0))


def _tracepoint_number() -> int:
    with tempfile.TemporaryDirectory(prefix="tcp-trace-tracefs-") as directory:
        sandbox.run("mount", "-t", "tracefs", "tracefs", directory)
        try:
            return int(Path(directory, "events", TRACEPOINT, "id").read_text())
        finally:
            sandbox.run("umount", directory)


def _count(tracepoint: int, cpu: int) -> int:
    attributes = struct.pack("=IIQ", _PERF_TYPE_TRACEPOINT, _PERF_ATTR_SIZE, tracepoint)
    buffer = ctypes.create_string_buffer(attributes, _PERF_ATTR_SIZE)
    opened = LIBC.syscall(_SYS_PERF_EVENT_OPEN, buffer, -1, cpu, -1, _PERF_FLAG_FD_CLOEXEC)
    return _checked(opened, "perf_event_open")


def _checked(fd: int, call: str) -> int:
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return fd
