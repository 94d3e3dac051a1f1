"""The start's requirements on this host, shared by the start and by `check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcp_trace.kernel import btf, features
from tcp_trace.kernel.contract import Kind, Without
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.kernel.loader import NO_RETURNS
from tcp_trace.kernel.privileges import CAP_SYS_ADMIN, held, may_load_programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcp_trace.kernel.contract import Attach, Point, Probe

PERF_EVENT_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

_ASK_ROOT = "sudo tcp-trace check"


def unknown(name: str, what: str) -> Finding:
    """Return a finding for something that only root can find out."""
    return Finding(name, Level.WARN, f"unknown without root: {what}", _ASK_ROOT)


def privileges() -> Finding:
    """Check whether this process may load and attach programs."""
    name, fix = "privileges", "use sudo; the service gets its privileges from systemd"
    if held("CapEff") & CAP_SYS_ADMIN:
        return Finding(name, Level.OK, "CAP_SYS_ADMIN; given up once attached")
    if not may_load_programs():
        return Finding(name, Level.FAIL, "not root, and without CAP_BPF and CAP_PERFMON", fix)
    # Debian and Ubuntu use values above those of the kernel's documentation.
    paranoid = PERF_EVENT_PARANOID.read_text().strip() if PERF_EVENT_PARANOID.exists() else "0"
    if int(paranoid) > 2:
        why = f"perf_event_paranoid is {paranoid}: CAP_SYS_ADMIN is needed"
        return Finding(name, Level.FAIL, why, fix)
    return Finding(name, Level.OK, "CAP_BPF and CAP_PERFMON; given up once attached")


def points(probe: Probe[Any], settings: Any) -> Iterator[Finding]:  # noqa: ANN401 - the probe's
    """Yield the findings of a probe's points; for good ones, only those that the log notes."""
    wanted = probe.points(settings)
    targets = {
        attach.name: None
        for point in wanted
        for alternative in point.alternatives
        for attach in alternative
        if attach.kind is Kind.FEXIT
    }
    try:
        functions = btf.read(functions=targets).functions
    except btf.BtfError:
        functions = {}
    for point in wanted:
        found = _point(point, functions)
        if found.level is not Level.OK or point.note:
            yield found


def _point(point: Point, functions: Mapping[str, int | None]) -> Finding:
    """Find out which alternative the start would take, if any."""
    why: list[str] = []
    amiss = ""
    for alternative in point.alternatives:
        first = alternative[0]
        answers = [features.has(attach, functions) for attach in alternative]
        if None in answers:
            return unknown(point.name, f"whether {point.what} can be watched")
        if not all(answers):
            why.append(_missing(point, first))
        elif found := point.try_out and point.try_out(first):
            why.append(found[0])
            amiss = found[1]
        else:
            level = Level.WARN if amiss else Level.OK
            return Finding(point.name, level, "; ".join((_taken(point, first), *why)), amiss)
    fails = point.without is Without.NO_START
    detail = "; ".join(filter(None, (*why, point.lost)))
    return Finding(point.name, Level.FAIL if fails else Level.WARN, detail, amiss or _fix(point))


def _taken(point: Point, attach: Attach) -> str:
    return f"the return of {point.what} is watched" if attach.kind is Kind.FEXIT else str(attach)


def _missing(point: Point, attach: Attach) -> str:
    if attach.kind is Kind.FEXIT:
        return "ftrace is off" if features.is_ftrace_off() else NO_RETURNS.format(point.what)
    if features.is_locked_down():
        return "the kernel is locked down: no tracing at all"
    return f"this kernel has no {attach}"


def _fix(point: Point) -> str:
    if features.is_locked_down():
        return "boot without lockdown=confidentiality"
    if features.is_ftrace_off() and point.alternatives[0][0].kind is Kind.FEXIT:
        return "set kernel.ftrace_enabled=1 before the service starts"
    return point.fix or "nothing to do: everything else works"
