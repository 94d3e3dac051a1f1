"""Whose failures they are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.maker import RUNTIMES
from tcp_trace.notify.wording import failures, listed, others

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification, ProcessCount
    from tcp_trace.notify.wording import Style

_NAMED = 2
_SHORT_ID = 12  # as docker, podman and crictl show it


def programs(n: Notification, style: Style) -> str | None:
    """Return who failed: one program with all that is known of it, or the names of two at most."""
    if not n.processes:
        return None
    if len(n.processes) == 1 and not n.unlisted:
        return process(n.processes[0], n, style)
    return listed([style.name(p.comm) for p in n.processes[:_NAMED]], _others(n))


def process(p: ProcessCount, n: Notification, style: Style) -> str:
    """Return one program: its name, process, user, and count where others failed, too."""
    pid = f"{'latest ' if p.several else ''}pid {p.pid}"
    times = "" if p.failures == n.total else f": {failures(p.failures)}"
    known = "; ".join([pid, *_maker(p, style)])
    return f"{style.name(p.comm)} ({known}){times}"


def processes(n: Notification, style: Style) -> list[str]:
    """Return a line for each of two programs at most, and one for all others."""
    if not n.unlisted and len(n.processes) < _NAMED:
        return []  # one alone is named in full beside the cause
    lines = [process(p, n, style) for p in n.processes[:_NAMED]]
    rest = sum(p.failures for p in n.processes[_NAMED:]) + n.unlisted
    if rest:
        lines.append(f"{_others(n) if n.processes else 'unknown'}: {failures(rest)}")
    return lines


def _others(n: Notification) -> str:
    """Return `3 others`; their number is unknown where some are not listed, empty for none."""
    return "others" if n.unlisted else others(len(n.processes) - _NAMED)


def place(n: Notification, style: Style) -> str | None:
    """Return whose network namespace the subject is in, None for the service's own."""
    if n.subject is None or not n.subject.netns:
        return None
    number = str(n.subject.netns)
    for known in (_container, _unit):
        owner = next(filter(None, (known(p, style) for p in n.processes)), None)
        if owner is not None:
            return f"of {owner} ({number})"
    return number


def _maker(p: ProcessCount, style: Style) -> list[str]:
    """Return who and where, as far as it is known."""
    known = [f"user id {p.uid}" if p.user is None else f"user {style.name(p.user)}"]
    known += filter(None, (_unit(p, style), _container(p, style)))
    if p.pod is not None:
        known.append(f"pod {style.name(p.pod)}")
    return known


def _unit(p: ProcessCount, style: Style) -> str | None:
    return None if p.unit is None else f"unit {style.name(p.unit)}"


def _container(p: ProcessCount, style: Style) -> str | None:
    if p.container is None:
        return None
    runtime, _, container_id = p.container.rpartition("://")
    kind = f"{runtime} container" if runtime in RUNTIMES.values() else "container"
    return f"{kind} {style.name(container_id[:_SHORT_ID])}"
