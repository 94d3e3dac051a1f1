"""The command by which whoever reads a message silences more of them, ready to be copied.

It stands where it may be pasted into a shell of root's, and subjects and programs are named by
others: nothing but letters, digits and a few marks of them gets into it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from tcp_trace.incidents.notification import Severity

if TYPE_CHECKING:
    from tcp_trace.connects.watch import Endpoint
    from tcp_trace.incidents.notification import Notification, ProcessCount

_ADD = "sudo tcp-trace silence add"
_KNOWN_AFTER = 3  # reminders
_ADDRESS = re.compile(r"[0-9a-f.:]{1,50}")
_ODD = re.compile(r"^-|[^A-Za-z0-9._:@-]")
_ODD_IN_A_HOST = re.compile(r"[:@]")


def silence(n: Notification) -> tuple[str, str] | None:
    """Return a label and the command; None where nothing more comes, or no silence would fit.

    Who has been reminded three times knows, and gets the silence that lasts until it recovers.
    """
    endpoint = None if n.subject is None else n.subject.endpoint
    what = _only_program(n) if endpoint is None else _place(endpoint)
    if what is None or n.kind.is_last:
        return None
    if n.reminders >= _KNOWN_AFTER and endpoint is not None and "?" not in what:
        return "Silence until it recovers", f"{_ADD} --until-recovered {what}"
    return "Silence", f"{_ADD} --for 2h {what}"


def _only_program(n: Notification) -> str | None:
    """Return the arguments that mean the one program that fails, None for several.

    A digest that is critical is worth more than to be silenced by its program.
    """
    if len(n.processes) != 1 or n.unlisted:
        return None
    if n.is_digest and n.severity is Severity.CRITICAL:
        return None
    return _program(n.processes[0])


def _place(endpoint: Endpoint) -> str | None:
    if endpoint.name is not None:
        pattern = _pattern(_ODD_IN_A_HOST.sub("?", endpoint.name))
        return None if pattern is None else shlex.quote(f"{pattern}:{endpoint.port}")
    address = endpoint.address or ""
    if _ADDRESS.fullmatch(address) is None:
        return None
    return shlex.quote(
        f"[{address}]:{endpoint.port}" if ":" in address else f"{address}:{endpoint.port}"
    )


def _program(p: ProcessCount) -> str | None:
    option, name = ("--process", p.comm) if p.unit is None else ("--unit", p.unit)
    pattern = _pattern(name)
    return None if pattern is None else f"{option} {shlex.quote(pattern)}"


def _pattern(name: str) -> str | None:
    """Return a pattern of this name; None where it would mean any name as long."""
    pattern = _ODD.sub("?", name)
    return pattern if any(map(str.isalpha, pattern)) else None
