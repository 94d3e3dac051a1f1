"""What this kernel can do, found by trying."""

from __future__ import annotations

import ctypes as ct
import functools
import os
import platform
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.kernel import privileges
from tcp_trace.kernel.contract import Kind
from tcp_trace.kernel.libc import bpf, libc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcp_trace.kernel.contract import Attach

KALLSYMS = Path("/proc/kallsyms")
TRACING = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
LOCKDOWN = Path("/sys/kernel/security/lockdown")
_FTRACE = Path("/proc/sys/kernel/ftrace_enabled")

# The number of perf_event_open(2)
_PERF_EVENT_OPEN = {"x86_64": 298, "ppc64le": 319, "s390x": 331}.get(platform.machine(), 241)
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

# Two instructions: return 0.
_RETURN_0 = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
# The call of bpf_get_current_task_btf() before them.
_CURRENT_TASK = struct.pack("=BBhi", 0x85, 0, 0, 158)


def can_watch_returning(function: int | None, *, by_attaching: bool = True) -> bool | None:
    """Return whether a program can be attached to a function's return (BPF trampolines).

    `function` is its BTF id, None if it has none. A kernel may load such programs and attach none,
    as on arm64 before 6.4, and a sandbox may refuse them; so an empty program is attached.
    Detaching it takes until the kernel's tasks have left it, a good part of a second; a caller that
    attaches another one at once sets `by_attaching` to False, and the program is only loaded. While
    ftrace is off nothing is tried: a program detached then can never be attached again. Returns
    None if this process may not try.
    """
    if not privileges.may_load_programs():
        return None
    if function is None or is_ftrace_off():
        return False
    code, terms = ct.create_string_buffer(_RETURN_0), ct.create_string_buffer(b"GPL")
    at = (ct.addressof(code), ct.addressof(terms))
    program = bpf(_PROG_LOAD, _LOAD.pack(_TRACING, 2, *at, _FEXIT, function))
    if program < 0:
        return False
    link = bpf(_RAW_TRACEPOINT_OPEN, _OPEN.pack(0, program, 0)) if by_attaching else program
    for fd in {program, link} - {-1}:
        os.close(fd)
    return link >= 0


def has_typed_task() -> bool:
    """Return whether programs may read the current task in place, which is cheaper than calls.

    Since commit 3ca1032ab7ab ("bpf: Add bpf_get_current_task_btf() helper", in v5.11).
    """
    code = ct.create_string_buffer(_CURRENT_TASK + _RETURN_0)
    terms = ct.create_string_buffer(b"GPL")
    at = (ct.addressof(code), ct.addressof(terms))
    program = bpf(_PROG_LOAD, _LOAD.pack(_RAW_TRACEPOINT, 3, *at, 0, 0))
    if program < 0:
        return False
    os.close(program)
    return True


def is_ftrace_off() -> bool:
    """Return whether ftrace is switched off: most kprobes and trampolines depend on it."""
    return _FTRACE.exists() and _FTRACE.read_text().strip() == "0"


def lacks(attach: Attach, functions: Mapping[str, int | None]) -> str | None:
    """Return why a program cannot be attached, by checks that cost next to nothing.

    `functions` are BTF ids. Returns None if no check fails.
    """
    if attach.kind is Kind.KPROBE and not has_kprobes():
        return f"the kprobe on {attach.target} cannot be placed: this kernel has no kprobes"
    if attach.kind is Kind.FEXIT:
        can = can_watch_returning(functions.get(attach.name), by_attaching=False)
        if not can or not _attaches_what_it_loads(next(filter(None, functions.values()))):
            return f"this kernel cannot watch {attach.target}() return"
    return None


@functools.cache
def _attaches_what_it_loads(function: int) -> bool:
    """Return whether a loadable FEXIT program can also be attached.

    On x86-64 it can. Elsewhere one function stands for all: detaching from each takes too long.
    """
    return platform.machine() == "x86_64" or bool(can_watch_returning(function))


def has(attach: Attach, functions: Mapping[str, int | None]) -> bool | None:
    """Return whether a program could be attached, as far as this user can see; None for unknown."""
    if attach.kind is Kind.FEXIT:
        return can_watch_returning(functions.get(attach.name))
    if is_locked_down():
        return False
    symbols = _text(KALLSYMS)
    if attach.kind is Kind.KPROBE:
        found = has_kprobes() and f" {attach.name}\n" in symbols
    elif attach.kind is Kind.RAW_TRACEPOINT:
        events = "events/" + attach.target.replace(":", "/")
        found = f" __traceiter_{attach.name}\n" in symbols or any(
            _seen(path / events) for path in TRACING
        )
    else:
        found = f" bpf_iter_{attach.name}\n" in symbols
    if not found and os.geteuid() != 0 and not any(os.access(path, os.X_OK) for path in TRACING):
        return None
    return found


def is_locked_down() -> bool:
    """Return whether the kernel is locked down against all tracing."""
    return "[confidentiality]" in _text(LOCKDOWN)


def has_kprobes() -> bool:
    """Return whether this kernel has an interface to place kprobes."""
    return KPROBE_PMU.exists() or any(_seen(path / "kprobe_events") for path in TRACING)


def _seen(path: Path) -> bool:
    """Return whether a path exists and this user may see it."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _text(path: Path) -> str:
    return path.read_text() if _seen(path) else ""


def is_kprobe_run(function: str, call: Callable[[], object]) -> bool | None:
    """Return whether a kprobe can be placed on a function, and runs when `call` calls it.

    Returns None if this process may not try, or the kernel lacks the kprobe PMU.
    """
    if not KPROBE_PMU.exists() or not privileges.may_load_programs():
        return None
    name = ct.create_string_buffer(function.encode())
    event = _EVENT.pack(int(KPROBE_PMU.read_text()), _EVENT.size, 0, ct.addressof(name), 0)
    buffer = ct.create_string_buffer(event, len(event))
    counter = libc().syscall(_PERF_EVENT_OPEN, buffer, 0, -1, -1, _PERF_FLAG_FD_CLOEXEC)
    if counter < 0:
        return False
    try:
        call()
        return any(os.read(counter, 8))
    finally:
        os.close(counter)
