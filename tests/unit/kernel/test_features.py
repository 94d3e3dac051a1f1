"""What is known of a kernel before anything is compiled for it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tcp_trace.kernel import features, privileges
from tcp_trace.kernel.contract import Attach, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = {"gone": None, "inet_recvmsg": 7, "inet6_recvmsg": 8}


@dataclass
class Kernel:
    """What it lets programs do that watch functions returning, and how often it was asked."""

    attaches: bool = True
    loads: bool = True
    asked: list[int] = field(default_factory=list)

    def bpf(self, command: int, _: bytes) -> int:
        """Return a descriptor, or -1 where the command is refused."""
        self.asked.append(command)
        can = self.loads if command == features._PROG_LOAD else self.attaches
        return os.open(os.devnull, os.O_RDONLY) if can else -1

    def attached(self) -> int:
        """Return how often somebody tried to attach a program."""
        return self.asked.count(features._RAW_TRACEPOINT_OPEN)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Return a kernel of arm64 that lets everything be done, until somebody says otherwise."""
    made = Kernel()
    monkeypatch.setattr(features, "bpf", made.bpf)
    monkeypatch.setattr(features, "is_ftrace_off", lambda: False)
    monkeypatch.setattr(privileges, "may_load_programs", lambda: True)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    features._attaches_what_it_loads.cache_clear()
    yield made
    features._attaches_what_it_loads.cache_clear()


def lacking() -> list[str | None]:
    """Return what speaks against watching each function returning."""
    return [features.lacks(Attach(Kind.FEXIT, name, name), FUNCTIONS) for name in FUNCTIONS]


def test_a_function_that_the_kernel_does_not_have(kernel: Kernel) -> None:
    """It cannot be watched; the others can, of which one was tried for all."""
    assert lacking() == ["this kernel cannot watch gone() return", None, None]
    assert kernel.attached() == 1


def test_a_kernel_that_loads_and_does_not_attach(kernel: Kernel) -> None:
    """That is found by attaching, so that nothing is compiled in vain."""
    kernel.attaches = False
    assert None not in lacking()
    assert kernel.attached() == 1


def test_a_kernel_that_does_not_load(kernel: Kernel) -> None:
    """There is nothing to attach then."""
    kernel.loads = False
    assert None not in lacking()
    assert kernel.attached() == 0


def test_where_loading_says_enough(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On x86-64 nothing is attached for a trial: to detach it would lengthen each start."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert lacking()[1:] == [None, None]
    assert kernel.attached() == 0
