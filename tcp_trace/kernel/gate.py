"""The map through which the service controls its kernel program: bpf/include/gate.h.

Its name has a digest of the compiled program and its hooks. The kernel sets a map's name once, and
reports which maps a program uses; so the gate identifies the program.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel.maps import lookup, update
from tcp_trace.kernel.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcp_trace.kernel.contract import Attached

GATE = Shape("gate", from_ns="Q", until_ns="Q", role="I", pid="I")
_ONLY = bytes(4)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_DIGITS = 12  # a map's name has at most 15 bytes


class Role(IntEnum):
    """The role of a program: `enum gate_role`."""

    CLOSED = 0
    OPEN = 1
    COMING = 2
    GOING = 3


class Gate(NamedTuple):
    """`struct gate`. Times are nanoseconds of CLOCK_MONOTONIC."""

    from_ns: int
    until_ns: int
    role: Role
    pid: int


NEVER = 2**64 - 1


def read(fd: int) -> Gate:
    """Return the content of a gate. Raises OSError, ValueError."""
    value = lookup(fd, _ONLY, GATE.size)
    if value is None:
        raise OSError("the gate cannot be read")
    from_ns, until_ns, role, pid = GATE.unpack(value)
    return Gate(from_ns, until_ns, Role(role), pid)


def write(fd: int, role: Role, from_ns: int = 0, until_ns: int = 0) -> None:
    """Set a program's role, and make this process its service. Raises OSError."""
    # Stage 2 has the PID of stage 1: the exec keeps it.
    update(fd, _ONLY, GATE.pack(from_ns, until_ns, role, os.getpid()))


class Inputs(NamedTuple):
    """The inputs of a program: its text, its constants, the kernel, and the wanted hooks.

    Field offsets are not among them: they follow from the running kernel.
    """

    text: str
    constants: Mapping[str, int | str]
    kernel: str
    wanted: str

    def differ_in(self, other: Inputs) -> str:
        """Return the differences in words, empty for none."""
        names = sorted({*self.constants, *other.constants})
        changed = [n for n in names if self.constants.get(n) != other.constants.get(n)]
        reasons = {
            "the program has another version": self.text != other.text,
            f"{', '.join(changed)} changed": bool(changed),
            "the kernel or the boot is another": self.kernel != other.kernel,
            "the wanted hooks changed": self.wanted != other.wanted,
        }
        return "; ".join(reason for reason, is_so in reasons.items() if is_so)


def boot_id() -> str:
    """Return what tells this boot of the host from any other."""
    return _BOOT.read_text().strip()


def inputs(text: str, constants: Mapping[str, int | str], wanted: object) -> Inputs:
    """Return the inputs of a program for this kernel in this boot."""
    kernel = f"{platform.release()} {platform.machine()} {boot_id()}"
    return Inputs(_digest(text), dict(constants), kernel, _digest(repr(wanted)))


def digest(made_of: Inputs, attached: Sequence[Attached]) -> str:
    """Return a digest that identifies a program with its hooks."""
    hangs_on = [each.place for each in attached]
    return _digest(json.dumps([made_of, hangs_on], sort_keys=True))[:_DIGITS]


def name_of(digest: str) -> str:
    """Return the name of the map."""
    return f"g_{digest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
