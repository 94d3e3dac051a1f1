"""Stage 1 on a kernel that cannot do what was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tcp_trace.config import Hook
from tcp_trace.kernel import program

if TYPE_CHECKING:
    from tcp_trace.config import Settings

_PARTS = frozenset({"RETURNS"})


class WithoutKprobes:
    """What BCC does on a kernel without kprobes."""

    def __init__(self) -> None:
        self.loaded = True

    def attach_kprobe(self, **_: object) -> None:
        """Fail as BCC does."""
        raise OSError("it's not traceable")

    def cleanup(self) -> None:
        """Unload it."""
        self.loaded = False


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, WithoutKprobes]]:
    """Return what gets compiled: whether for the kprobe, and the program."""
    made: list[tuple[bool, WithoutKprobes]] = []

    def load(_: object, constants: list[str], **__: object) -> tuple[Any, frozenset[str]]:
        made.append(("-DHOOK_KPROBE" in constants, WithoutKprobes()))
        return made[-1][1], _PARTS

    monkeypatch.setattr(program, "_load", load)
    monkeypatch.setattr(program, "_attach_tracepoint", lambda *_: 7)
    return made


def _watch(hook: Hook) -> program._Watching:
    settings = cast("Settings", SimpleNamespace(hook=hook, dns_names=True))
    return program._watch(program._Layout([], cast("Any", None), "btf"), ["-DX"], settings)


def test_a_kprobe_that_cannot_be_placed_names_the_way_out(
    compiled: list[tuple[bool, WithoutKprobes]],
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
    compiled: list[tuple[bool, WithoutKprobes]],
) -> None:
    """The program for the kprobe, whose other parts are attached by then, goes before the other."""
    watching = _watch(Hook.AUTO)
    assert [(kprobe, one.loaded) for kprobe, one in compiled] == [(True, False), (False, True)]
    assert watching == (
        *(compiled[1][1], _PARTS, Hook.TRACEPOINT, 7),
        "the kprobe on tcp_set_state cannot be placed: it's not traceable",
    )


def test_only_the_wanted_hook_is_compiled(
    compiled: list[tuple[bool, WithoutKprobes]],
) -> None:
    """Who wants the tracepoint waits for no other hook's compiling, and hears of none."""
    assert _watch(Hook.TRACEPOINT) == (compiled[0][1], _PARTS, Hook.TRACEPOINT, 7, None)
    assert [kprobe for kprobe, _ in compiled] == [False]
