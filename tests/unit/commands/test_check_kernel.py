"""What `check` says of a kernel: hooks, privileges, headers, returns of connect()."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, cast

import pytest

from tcp_trace.commands import check
from tcp_trace.kernel import btf, features, headers, privileges, readiness
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.settings import config
from tcp_trace.settings.config import Hook

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a kernel with kprobe and tracepoint below a directory, and let check look there."""
    (tmp_path / "kallsyms").write_text(
        "ffffffff81ebbd40 T tcp_set_state\nffffffff81ebbd41 T __traceiter_inet_sock_set_state\n"
    )
    (tmp_path / "kprobe").write_text("8\n")
    (tmp_path / "lockdown").write_text("[none] integrity confidentiality\n")
    (tmp_path / "paranoid").write_text("3\n")
    (tmp_path / "status").write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr(features, "KALLSYMS", tmp_path / "kallsyms")
    monkeypatch.setattr(features, "KPROBE_PMU", tmp_path / "kprobe")
    monkeypatch.setattr(features, "TRACING", (tmp_path / "tracing",))
    monkeypatch.setattr(features, "LOCKDOWN", tmp_path / "lockdown")
    monkeypatch.setattr(readiness, "PERF_EVENT_PARANOID", tmp_path / "paranoid")
    monkeypatch.setattr(privileges, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(features, "is_kprobe_run", lambda *_: True)
    return tmp_path


def point(name: str, hook: Hook = Hook.AUTO) -> Finding:
    """Return what is found of a point of the probes that are wanted by default."""
    settings = config.load({"HOOK": hook.value}, None)
    (found,) = (one for one in check._probes(settings) if one.name == name)
    return found


def test_kprobe_is_preferred(kernel: Path) -> None:  # noqa: ARG001
    """Where both hooks are there the kprobe is named."""
    assert point("hook") == Finding("hook", Level.OK, "kprobe on tcp_set_state")
    assert point("hook", Hook.TRACEPOINT).detail == "tracepoint sock:inet_sock_set_state"


def test_tracepoint_where_there_are_no_kprobes(kernel: Path) -> None:
    """Without kprobes auto is fine with the tracepoint, and HOOK=kprobe is not."""
    (kernel / "kprobe").unlink()
    assert point("hook").level is Level.OK
    assert "no kprobe on tcp_set_state" in point("hook").detail
    assert point("hook", Hook.KPROBE) == Finding(
        "hook",
        Level.FAIL,
        "this kernel has no kprobe on tcp_set_state",
        "use HOOK=auto in place of HOOK=kprobe",
    )


def test_old_way_to_a_kprobe_counts(kernel: Path) -> None:
    """A kernel without the kprobe PMU but with tracefs can place kprobes as well."""
    (kernel / "kprobe").unlink()
    (kernel / "tracing").mkdir()
    (kernel / "tracing/kprobe_events").touch()
    assert point("hook", Hook.KPROBE).level is Level.OK


def test_no_hook_at_all(kernel: Path) -> None:
    """A kernel with neither hook, or with tracing locked down, fails."""
    (kernel / "lockdown").write_text("none integrity [confidentiality]\n")
    assert "locked down" in point("hook").detail
    (kernel / "lockdown").unlink()
    (kernel / "kallsyms").write_text("")
    assert point("hook").level is Level.FAIL


@pytest.mark.parametrize(
    ("capabilities", "paranoid", "level"),
    [
        ("000001ffffffffff", "3", Level.OK),
        ("0000000000200000", "3", Level.OK),
        ("000000c000000000", "2", Level.OK),
        ("000000c000000000", "3", Level.FAIL),
        ("0000008000000000", "2", Level.FAIL),
        ("0000000000000000", "-1", Level.FAIL),
    ],
)
def test_privileges(kernel: Path, capabilities: str, paranoid: str, level: Level) -> None:
    """CAP_SYS_ADMIN will do; CAP_BPF with CAP_PERFMON only where perf_event_paranoid allows."""
    (kernel / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    (kernel / "paranoid").write_text(paranoid + "\n")
    finding = readiness.privileges()
    assert finding.level is level
    assert bool(finding.fix) == (level is Level.FAIL)


def test_missing_headers_name_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With BTF no headers are asked for; without it the fix is the package with the exact ones."""
    monkeypatch.setattr(headers, "MODULES", tmp_path)
    assert [(item.name, item.level) for item in check._layout()] == [("btf", Level.OK)]

    def no_btf(*_: object, **__: object) -> btf.Types:
        raise btf.BtfError("this kernel has no type information")

    monkeypatch.setattr(btf, "read", no_btf)
    first, second = check._layout()
    assert (first.level, second.level) == (Level.WARN, Level.FAIL)
    assert "its exact headers are needed" in second.detail
    assert f"install the package linux-headers-{os.uname().release}" in second.fix


def test_wrong_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package called bcc on PyPI is told apart, and so is having none."""
    # Set first, so that afterwards it is gone again where nobody had imported it.
    monkeypatch.setitem(sys.modules, "bcc", sys)
    monkeypatch.delitem(sys.modules, "bcc")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bcc.py").write_text("")
    finding = check._bcc()
    assert finding.level is Level.FAIL
    assert "a different package" in finding.detail
    monkeypatch.setitem(cast("dict[str, object]", sys.modules), "bcc", None)
    assert check._bcc().level is Level.FAIL


def test_old_kernel_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel older than the tested ones may work."""
    monkeypatch.setattr(platform, "release", lambda: "4.19.0-27-amd64")
    assert check._kernel().level is Level.WARN
    monkeypatch.setattr(platform, "release", lambda: "5.10.0")
    assert check._kernel().level is Level.OK


@pytest.mark.parametrize(
    ("refused", "names", "said"),
    [
        (None, "returns", "the return of connect() is watched"),
        ("tcp_v6_connect", "returns", "watch connect() return (BPF trampolines); connects that"),
        ("tcp_v6_connect", "names", "the return of recvmsg() is watched"),
        ("inet_recvmsg", "names", "watch recvmsg() return (BPF trampolines); host names are"),
        ("inet6_recvmsg", "returns", "the return of connect() is watched"),
    ],
)
def test_functions_returning(
    monkeypatch: pytest.MonkeyPatch, refused: str | None, names: str, said: str
) -> None:
    """Each function that the start watches is tried: a kernel may take some and not others."""
    forbidden = btf.read(functions=[refused]).functions[refused] if refused else None
    monkeypatch.setattr(features, "can_watch_returning", lambda number: number != forbidden)
    finding = point(names)
    assert said in finding.detail
    assert finding.level is (Level.OK if "is watched" in said else Level.WARN)


def test_functions_returning_while_ftrace_is_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is attached then, since it could not be again; the fix is to switch it on."""
    (tmp_path / "ftrace").write_text("0\n")
    monkeypatch.setattr(features, "_FTRACE", tmp_path / "ftrace")
    monkeypatch.setattr(features, "bpf", lambda *_: pytest.fail("a program was loaded"))
    finding = point("returns")
    assert finding.level is Level.WARN
    assert finding.detail == "ftrace is off; connects that fail before a SYN are not seen"
    assert "kernel.ftrace_enabled=1" in finding.fix


def test_functions_returning_without_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who may load no program is told that it is not known, and how to know it."""
    (tmp_path / "status").write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr(privileges, "_STATUS", tmp_path / "status")
    finding = point("returns")
    assert finding.level is Level.WARN
    assert finding.detail.startswith("unknown without root")
    assert finding.fix == "sudo tcp-trace check"


def test_a_kprobe_that_is_not_run(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can be placed and sees nothing is no hook; the fix says what to switch on."""
    assert (kernel / "kprobe").exists()
    monkeypatch.setattr(features, "is_kprobe_run", lambda *_: False)
    finding = point("hook")
    assert finding.level is Level.WARN
    assert finding.detail == (
        "tracepoint sock:inet_sock_set_state; a kprobe on tcp_set_state is not run"
    )
    assert "/sys/kernel/debug/kprobes/enabled" in finding.fix
    assert point("hook", Hook.KPROBE).level is Level.FAIL
    assert point("hook", Hook.TRACEPOINT).level is Level.OK
