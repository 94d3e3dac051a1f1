"""What this kernel can do, found out by trying."""

from __future__ import annotations

import ctypes as ct
import os
import platform
import re
import socket
import struct
from pathlib import Path

_LIBC = ct.CDLL(None, use_errno=True)
_STATUS = Path("/proc/self/status")
_FTRACE = Path("/proc/sys/kernel/ftrace_enabled")

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN = 1 << 21
_CAP_BPF_PERFMON = 1 << 39 | 1 << 38

# The numbers of bpf(2) and perf_event_open(2)
_NUMBERS = {"x86_64": (321, 298), "ppc64le": (361, 319), "s390x": (351, 331)}
_SYS_BPF, _SYS_PERF_EVENT_OPEN = _NUMBERS.get(platform.machine(), (280, 241))
# include/uapi/linux/bpf.h: enum bpf_cmd, bpf_prog_type and bpf_attach_type
_PROG_LOAD, _RAW_TRACEPOINT_OPEN = 5, 17
_RAW_TRACEPOINT, _TRACING, _FEXIT = 17, 26, 25
# The beginning of union bpf_attr for _PROG_LOAD, up to attach_btf_id: prog_type insn_cnt insns
# license | ... | expected_attach_type ... attach_btf_id
_LOAD = struct.Struct("=IIQQ 44x I 36x I")
_OPEN = struct.Struct("=QII")
# include/uapi/linux/perf_event.h: type size config ... config1, which is the function's name
_EVENT = struct.Struct("=IIQ 40x QQ")
_PERF_FLAG_FD_CLOEXEC = 8

KPROBE_PMU = Path("/sys/bus/event_source/devices/kprobe/type")

CONNECT = "tcp_v4_connect"
"""What is watched returning wherever anything is."""

# Two instructions: return 0.
_RETURN_0 = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
# The call of bpf_get_current_task_btf() before them.
_CURRENT_TASK = struct.pack("=BBhi", 0x85, 0, 0, 158)


def may_load_programs() -> bool:
    """Tell whether this process holds the capabilities to load and attach programs."""
    held = re.search(r"^CapEff:\s*(\w+)", _STATUS.read_text(), re.MULTILINE)
    bits = int(held[1], 16) if held else 0
    return bool(bits & _CAP_SYS_ADMIN) or bits & _CAP_BPF_PERFMON == _CAP_BPF_PERFMON


def can_watch_returning(function: int | None, *, by_attaching: bool = True) -> bool | None:
    """Tell whether a program can be attached to a function returning (BPF trampolines).

    `function` is its number in the kernel's type information, None where it has none. A kernel may
    load such programs and attach none, as arm64's did before 6.4, and a sandbox may refuse them: so
    one that does nothing is attached. To detach it takes as long as the kernel's tasks take to
    leave it, a good part of a second; who attaches another one at once loads this one only. While
    ftrace is off it is not tried: what is detached then can never be attached again. Return None
    where this process may not do so.
    """
    if not may_load_programs():
        return None
    if function is None or is_ftrace_off():
        return False
    code, terms = ct.create_string_buffer(_RETURN_0), ct.create_string_buffer(b"GPL")
    at = (ct.addressof(code), ct.addressof(terms))
    program = _bpf(_PROG_LOAD, _LOAD.pack(_TRACING, 2, *at, _FEXIT, function))
    if program < 0:
        return False
    link = _bpf(_RAW_TRACEPOINT_OPEN, _OPEN.pack(0, program, 0)) if by_attaching else program
    for fd in {program, link} - {-1}:
        os.close(fd)
    return link >= 0


def has_typed_task() -> bool:
    """Tell whether programs may read the current task in place, which is cheaper than by calls.

    Since commit 3ca1032ab7ab ("bpf: Add bpf_get_current_task_btf() helper", in v5.11).
    """
    code = ct.create_string_buffer(_CURRENT_TASK + _RETURN_0)
    terms = ct.create_string_buffer(b"GPL")
    at = (ct.addressof(code), ct.addressof(terms))
    program = _bpf(_PROG_LOAD, _LOAD.pack(_RAW_TRACEPOINT, 3, *at, 0, 0))
    if program < 0:
        return False
    os.close(program)
    return True


def is_ftrace_off() -> bool:
    """Tell whether somebody switched ftrace off, on which most kprobes and trampolines stand."""
    return _FTRACE.exists() and _FTRACE.read_text().strip() == "0"


def is_kprobe_run() -> bool | None:
    """Tell whether a kprobe on tcp_set_state() can be placed, and is run.

    Return None where this process may not do so, or the kernel has no such way to it.
    """
    if not KPROBE_PMU.exists() or not may_load_programs():
        return None
    name = ct.create_string_buffer(b"tcp_set_state")
    event = _EVENT.pack(int(KPROBE_PMU.read_text()), _EVENT.size, 0, ct.addressof(name), 0)
    buffer = ct.create_string_buffer(event, len(event))
    counter = _LIBC.syscall(_SYS_PERF_EVENT_OPEN, buffer, 0, -1, -1, _PERF_FLAG_FD_CLOEXEC)
    if counter < 0:
        return False
    try:
        socket.create_server(("127.0.0.1", 0)).close()  # from LISTEN to CLOSE
        return any(os.read(counter, 8))
    finally:
        os.close(counter)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ct.create_string_buffer(attributes, len(attributes))
    return int(_LIBC.syscall(_SYS_BPF, command, buffer, len(attributes)))
