"""Every program of every probe, also those that this kernel does not take, for all kernels."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

# Nothing is loaded: prints the instructions of each program, by its name, in hexadecimal.
_COMPILE = """
import json, sys
from tcp_trace import resources
from tcp_trace.kernel import layout, loader, source
from tcp_trace.kernel.compiler import Module
from tcp_trace.kernel.privileges import Account
from tcp_trace.probes import registry
from tcp_trace.service import attach
from tcp_trace.settings import config

settings = config.load({"STATE_DIR": "/tmp", "EVENTS": sys.argv[1], "HOOK": sys.argv[2]}, None)
common, bpf = attach.common(Account(65_534, 65_534)), resources.directory("bpf")
plan = loader.Plan(registry.PROBES, settings)
text = source.text_of((probe.source for probe in registry.PROBES), bpf)
found = layout.read(source.fields(text), [])
unit = loader.unit_of(plan, settings, common, bpf, found)
module = Module(unit._replace(flags=(*unit.flags, *sys.argv[3:])))
print(json.dumps({name: code.hex() for name, code in module.programs.items()}))
"""
_JUMPS, _ALWAYS, _CALL, _EXIT = (5, 6), 0x00, 0x80, 0x90
_LOAD = 0x79  # 64 bits


def compiled(events: str, hook: str, *flags: str, **environ: str) -> dict[str, bytes]:
    """Return the instructions of each program; `flags` are more of the compiler's."""
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, events, hook, *flags],
        env={**os.environ, **environ},
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {name: bytes.fromhex(code) for name, code in json.loads(done.stdout).items()}


def ways(code: bytes) -> list[list[tuple[int, bool]]]:
    """Return where each instruction leads, and whether by a jump."""
    found: list[list[tuple[int, bool]]] = []
    for at, (opcode, _, offset, _) in enumerate(struct.iter_unpack("=BBhi", code)):
        operation = opcode & 0xF0 if opcode & 7 in _JUMPS else _CALL
        aside = [] if operation in (_CALL, _EXIT) else [(at + 1 + offset, True)]
        ahead = [] if operation in (_ALWAYS, _EXIT) else [(at + 1, operation != _CALL)]
        found.append(ahead + aside)
    return found


def falls_back(code: bytes) -> list[tuple[int, int]]:
    """Return where a loop goes on without a jump: check_cfg() of 6.1 calls that a back-edge."""
    found = []
    leads = ways(code)
    is_left = {0: False}
    path = [(0, iter(leads[0]))]
    while path:
        at, ahead = path[-1]
        for to, by_jump in ahead:
            if to not in is_left:
                is_left[to] = False
                path.append((to, iter(leads[to])))
                break
            if not is_left[to] and not by_jump:
                found.append((at, to))
        else:
            is_left[at] = True
            path.pop()
    return found


@pytest.mark.parametrize("wanted", ["kprobe", "tracepoint"])
@pytest.mark.parametrize("events", ["failures", "attempts", "all"])
def test_all_parts_compile(events: str, wanted: str) -> None:
    """None takes more of the stack than there is, and all loops are such as 6.1 takes.

    Else the start would do without the part in silence, or fail on another kernel than this one.
    """
    programs = compiled(events, wanted)
    assert "net_inet_sock_set_state" in programs
    # Newer versions of BCC name the module, too: kretfunc__vmlinux__tcp_v4_connect.
    assert {"tcp_v4_connect", "inet_recvmsg"} <= {name.rpartition("__")[2] for name in programs}
    assert [name for name, code in programs.items() if falls_back(code)] == []


@pytest.mark.parametrize(("architecture", "first", "second"), [("x86", 112, 104), ("arm64", 0, 8)])
def test_the_kprobe_reads_its_arguments_from_the_registers_of_the_architecture(
    architecture: str, first: int, second: int
) -> None:
    """BCC compiles for another architecture than this host's, too, with our own headers.

    The offsets are those at which the kernel saves rdi and rsi, x0 and x1.
    """
    # Newer BCC asks for this protection wherever it was itself built for x86.
    programs = compiled("failures", "kprobe", "-fcf-protection=none", ARCH=architecture)
    code = programs["kprobe_tcp_set_state"]
    loads = [
        offset for opcode, _, offset, _ in struct.iter_unpack("=BBhi", code) if opcode == _LOAD
    ]
    assert loads[:2] == [first, second]
