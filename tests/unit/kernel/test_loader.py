"""What becomes of a start whose probes ask for what this kernel cannot do."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tcp_trace.kernel import features, loader
from tcp_trace.kernel.contract import (
    Attach,
    Kind,
    NotAttachedError,
    Point,
    StartError,
    Without,
)
from tcp_trace.kernel.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tcp_trace.kernel.compiler import Unit

KPROBE = Attach(Kind.KPROBE, "tcp_set_state", "on_kprobe")
TRACEPOINT = Attach(Kind.RAW_TRACEPOINT, "sock:inet_sock_set_state", "on_tracepoint")
NET = Attach(Kind.RAW_TRACEPOINT, "sock:inet_sock_set_state", "net")
FOUR = Attach(Kind.FEXIT, "inet_recvmsg", "inet_recvmsg")
SIX = Attach(Kind.FEXIT, "inet6_recvmsg", "inet_recvmsg")
EITHER = Point("hook", ((KPROBE,), (TRACEPOINT,)), "a connect", note="fallback")
BOTH = Point("names", ((FOUR, SIX),), "recvmsg()", without=Without.NO_PROBE, note="no_names")


@dataclass(frozen=True)
class Simple:
    """A probe of a few points."""

    name: str
    asked: tuple[Point, ...]
    source: str = "probe.c"

    def is_wanted(self, _: object, /) -> bool:
        """Tell that it always is."""
        return True

    def maps(self, _: object, /) -> tuple[str, ...]:
        """Return one."""
        return ("watched",)

    def constants(self, _: object, /) -> dict[str, int | str]:
        """Return one."""
        return {"LIMIT": 3}

    def points(self, _: object, /) -> tuple[Point, ...]:
        """Return what it was made with."""
        return self.asked

    def decode(self, record: bytes, /) -> NoReturn:
        """Decode nothing."""
        raise ValueError(record)

    def counts(self, *_: object) -> tuple[()]:
        """Return nothing."""
        return ()


@dataclass
class Kernel:
    """What it refuses, what was compiled for it, and what hangs on it, by its link."""

    refused: set[Attach] = field(default_factory=set)
    compiles_all: bool = False
    compiled: list[Unit] = field(default_factory=list)
    links: dict[int, Attach] = field(default_factory=dict)

    @property
    def attached(self) -> list[Attach]:
        """What hangs on it, in the order in which it was attached."""
        return [*self.links.values()]

    def compile(self, unit: Unit) -> Module:
        """Return what stands for the compiled unit."""
        self.compiled.append(unit)
        return Module(self, unit)

    def wanted(self) -> list[set[str]]:
        """Return the functions that each compiling was for."""
        return [
            {flag.removeprefix("-DWITH_") for flag in unit.flags if flag.startswith("-DWITH_")}
            for unit in self.compiled
        ]


class Module:
    """What was compiled: the programs that were wanted, and those that always are."""

    def __init__(self, kernel: Kernel, unit: Unit) -> None:
        self._kernel, self._unit = kernel, unit

    def program_of(self, attach: Attach) -> str | None:
        """Return its name where it was compiled."""
        wanted = f"-DWITH_{attach.function}" in self._unit.flags
        return attach.function if wanted or self._kernel.compiles_all else None

    def map_fd(self, _: str) -> int:
        """Return a descriptor."""
        return 5

    def attach(self, attach: Attach) -> tuple[int, int]:
        """Attach it, or refuse to."""
        if attach in self._kernel.refused:
            raise NotAttachedError(f"{attach} is refused")
        link = max(self._kernel.links, default=0) + 1
        self._kernel.links[link] = attach
        return link, -1

    def detach(self, link: int) -> None:
        """Detach it."""
        del self._kernel.links[link]

    def close(self) -> None:
        """Detach all."""
        self._kernel.links.clear()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Return a kernel that has all that is asked for, until somebody says otherwise."""
    made = Kernel()
    layout = Layout((), "btf", {})
    monkeypatch.setattr("tcp_trace.kernel.layout.read", lambda *_: layout)
    monkeypatch.setattr(features, "lacks", lambda *_: None)
    monkeypatch.setattr(loader, "Module", made.compile)
    return made


@pytest.fixture
def load(tmp_path: Path) -> Any:  # noqa: ANN401
    """Return what loads probes with these points, each by its own name."""
    (tmp_path / "probe.c").write_text("int x = FIELD(sock, sk_err);\n")

    def loaded(*probes: Simple) -> loader.Loaded:
        return loader.load(probes, None, {"LIMIT_OF_ALL": 1}, tmp_path)

    return loaded


def kinds(loaded: loader.Loaded) -> list[tuple[str, str, str]]:
    """Return what hangs where."""
    return [(one.probe, one.point, one.kind) for one in loaded.attached]


def test_the_first_alternative_is_taken(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """It alone is compiled, with the constants of the probe and those of all."""
    loaded = load(Simple("connect", (EITHER,)))
    assert kinds(loaded) == [("connect", "hook", "kprobe")]
    assert (loaded.notes, kernel.wanted()) == ({}, [{"on_kprobe"}])
    assert {"-DLIMIT=3", "-DLIMIT_OF_ALL=1", "-DPROBE_CONNECT"} <= {*loaded.unit.flags}
    assert loaded.maps == {"connect": {"watched": 5}}


def test_the_next_one_is_where_the_first_is_refused(
    kernel: Kernel,
    load: Any,  # noqa: ANN401
) -> None:
    """What was attached with the first goes before the other is compiled; the log says why."""
    kernel.refused = {KPROBE}
    loaded = load(Simple("connect", (Point("net", ((NET,),), "a change"), EITHER)))
    assert kinds(loaded) == [("connect", "net", "tracepoint"), ("connect", "hook", "tracepoint")]
    assert kernel.attached == [NET, TRACEPOINT]
    assert kernel.wanted() == [{"net", "on_kprobe"}, {"net", "on_tracepoint"}]
    assert loaded.notes == {"fallback": "kprobe on tcp_set_state is refused"}


def test_what_the_kernel_lacks_is_not_compiled(
    kernel: Kernel,
    load: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where that can be known before, nobody waits for the compiler twice."""
    lacking = {KPROBE: "no kprobes"}
    monkeypatch.setattr(features, "lacks", lambda attach, _: lacking.get(attach))
    assert load(Simple("connect", (EITHER,))).notes == {"fallback": "no kprobes"}
    assert kernel.wanted() == [{"on_tracepoint"}]


def test_without_any_there_is_no_start(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """The error has every reason, and what to do."""
    kernel.refused = {KPROBE, TRACEPOINT}
    with pytest.raises(StartError) as caught:
        load(Simple("connect", (EITHER._replace(fix="use another kernel"),)))
    assert str(caught.value) == (
        "kprobe on tcp_set_state is refused; "
        "tracepoint sock:inet_sock_set_state is refused; use another kernel"
    )


def test_a_probe_that_cannot_be_is_left_out(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """All of an alternative is attached or none; the others go on, compiled without it."""
    kernel.refused = {SIX}
    loaded = load(Simple("connect", (EITHER,)), Simple("names", (BOTH,)))
    assert kinds(loaded) == [("connect", "hook", "kprobe")]
    assert kernel.attached == [KPROBE]
    assert [*loaded.maps] == ["connect"]
    assert "-DPROBE_NAMES" not in loaded.unit.flags
    assert loaded.notes == {
        "no_names": "this kernel cannot watch recvmsg() return (BPF trampolines)"
    }


def test_a_point_that_cannot_be_is_left_out(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """The probe goes on without it."""
    kernel.refused = {FOUR}
    point = BOTH._replace(without=Without.NO_POINT)
    loaded = load(Simple("connect", (point, EITHER)))
    assert kinds(loaded) == [("connect", "hook", "kprobe")]
    assert kernel.wanted() == [{"inet_recvmsg", "on_kprobe"}, {"on_kprobe"}]


def test_what_sees_nothing_is_not_taken(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """One that is attached and sees nothing is like one that cannot be attached."""

    def prove(attach: Attach, maps: Mapping[str, int]) -> None:
        assert maps == {"watched": 5}
        if attach is KPROBE:
            raise NotAttachedError("not run")

    loaded = load(Simple("connect", (EITHER._replace(prove=prove),)))
    assert kinds(loaded) == [("connect", "hook", "tracepoint")]
    assert (kernel.attached, loaded.notes) == ([TRACEPOINT], {"fallback": "not run"})


def test_what_is_compiled_anyway_is_taken_without_another_compiling(
    kernel: Kernel,
    load: Any,  # noqa: ANN401
) -> None:
    """What was attached before, and is not taken, goes first."""

    def prove(attach: Attach, _: Mapping[str, int]) -> None:
        if attach is FOUR:
            raise NotAttachedError("not run")

    kernel.compiles_all = True
    both = Point("hook", ((FOUR, SIX), (TRACEPOINT,)), "a connect", prove=prove)
    assert kinds(load(Simple("connect", (both,)))) == [("connect", "hook", "tracepoint")]
    assert (kernel.attached, len(kernel.compiled)) == ([TRACEPOINT], 1)


def test_what_cannot_be_seen_at_work_is_taken(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """Where loopback is down nobody can connect to it; the log says what is not known."""

    def prove(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    loaded = load(Simple("connect", (EITHER._replace(prove=prove),)))
    assert kernel.attached == [KPROBE]
    assert loaded.notes["unproven"].endswith("could not be tested: Network is unreachable")


def test_a_digest_tells_texts_and_flags_apart(kernel: Kernel, load: Any) -> None:  # noqa: ANN401
    """The same that is compiled twice has the same one, and nothing else has."""
    first = load(Simple("connect", (EITHER,)))
    assert load(Simple("connect", (EITHER,))).digest == first.digest
    kernel.refused = {KPROBE}
    assert load(Simple("connect", (EITHER,))).digest != first.digest
