"""Stage 1 on a kernel that cannot do what was asked for."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tcp_trace.kernel import program, proof
from tcp_trace.settings.config import Hook

if TYPE_CHECKING:
    from tcp_trace.settings.config import Settings

_PARTS = frozenset({"RETURNS"})


class Map:
    """A map of it, of which nothing is wanted."""

    def get_fd(self) -> int:
        """Return a descriptor."""
        return -1

    def zero(self) -> None:
        """Count from zero again."""


class Loaded:
    """What BCC loaded; where kprobes cannot be placed attaching one fails as BCC does."""

    can_be_placed = False

    def __init__(self) -> None:
        self.loaded = True
        self.kprobe_fds: dict[bytes, dict[bytes, int]] = {}

    def attach_kprobe(self, *, event: bytes, fn_name: bytes) -> None:
        """Attach it, or fail."""
        if not self.can_be_placed:
            raise OSError("it's not traceable")
        self.kprobe_fds[event] = {fn_name: 6}

    def __getitem__(self, name: str) -> Map:
        """Return a map."""
        return Map()

    def cleanup(self) -> None:
        """Unload it."""
        self.loaded = False


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, Loaded]]:
    """Return what gets compiled: whether for the kprobe, and the program."""
    made: list[tuple[bool, Loaded]] = []

    def load(_: object, constants: list[str], **__: object) -> tuple[Any, frozenset[str]]:
        made.append(("-DHOOK_KPROBE" in constants, Loaded()))
        return made[-1][1], _PARTS

    monkeypatch.setattr(program, "_load", load)
    monkeypatch.setattr(program, "_attach_tracepoint", lambda *_: 7)
    monkeypatch.setattr(proof, "is_run", lambda _: True)
    return made


def _watch(hook: Hook) -> program._Watching:
    settings = cast("Settings", SimpleNamespace(hook=hook, dns_names=True))
    return program._watch(program._Layout([], "btf"), ["-DX"], settings)


def test_a_kprobe_that_cannot_be_placed_names_the_way_out(
    compiled: list[tuple[bool, Loaded]],
) -> None:
    """Who insists on the kprobe is told which variable that was, why it fails, what to write."""
    with pytest.raises(program.StartError) as caught:
        _watch(Hook.KPROBE)
    assert str(caught.value) == (
        "HOOK=kprobe: the kprobe on tcp_set_state cannot be placed: it's not traceable; "
        "use HOOK=auto"
    )
    assert [kprobe for kprobe, _ in compiled] == [True]


def test_auto_takes_the_tracepoint_where_the_kprobe_fails(
    compiled: list[tuple[bool, Loaded]],
) -> None:
    """The program for the kprobe, whose other parts are attached by then, goes before the other."""
    watching = _watch(Hook.AUTO)
    assert [(kprobe, one.loaded) for kprobe, one in compiled] == [(True, False), (False, True)]
    why = "the kprobe on tcp_set_state cannot be placed: it's not traceable"
    assert watching == program._Watching(compiled[1][1], _PARTS, Hook.TRACEPOINT, 7, why)


def test_only_the_wanted_hook_is_compiled(
    compiled: list[tuple[bool, Loaded]],
) -> None:
    """Who wants the tracepoint waits for no other hook's compiling, and hears of none."""
    expected = program._Watching
    assert _watch(Hook.TRACEPOINT) == expected(compiled[0][1], _PARTS, Hook.TRACEPOINT, 7)
    assert [kprobe for kprobe, _ in compiled] == [False]


def test_a_kprobe_that_is_not_run_is_not_taken(
    compiled: list[tuple[bool, Loaded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is placed and sees nothing is like one that cannot be placed."""
    monkeypatch.setattr(Loaded, "can_be_placed", True)
    monkeypatch.setattr(proof, "is_run", lambda _: len(compiled) > 1)
    watching = _watch(Hook.AUTO)
    assert [(kprobe, one.loaded) for kprobe, one in compiled] == [(True, False), (False, True)]
    assert (watching.hook, watching.hook_fd, watching.unproven) == (Hook.TRACEPOINT, 7, None)
    assert "is placed but not run" in str(watching.fallback)
    compiled.clear()
    with pytest.raises(program.StartError, match=r"HOOK=kprobe: .* not run; .* use HOOK=auto"):
        _watch(Hook.KPROBE)


def test_no_hook_that_is_run_is_no_start(
    compiled: list[tuple[bool, Loaded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that would see nothing says so in place of `watching`, with both reasons."""
    monkeypatch.setattr(proof, "is_run", lambda _: False)
    with pytest.raises(program.StartError, match=r"not traceable; .* does not see a connect"):
        _watch(Hook.AUTO)
    assert len(compiled) == 2


def test_a_hook_that_cannot_be_seen_at_work_is_taken(
    compiled: list[tuple[bool, Loaded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where loopback is down nobody can connect to it; the log says what is not known."""

    def unreachable(_: object) -> bool:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(Loaded, "can_be_placed", True)
    monkeypatch.setattr(proof, "is_run", unreachable)
    watching = _watch(Hook.AUTO)
    assert (watching.bpf, watching.hook, watching.hook_fd) == (compiled[0][1], Hook.KPROBE, 6)
    assert "no connect to 127.0.0.1 (Network is unreachable)" in str(watching.unproven)
