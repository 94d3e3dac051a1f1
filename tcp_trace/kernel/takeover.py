"""One kernel program takes over from another while connects go on: each failure is reported once.

    1  the new one is attached; both get a time from which attempts belong to the new one
    2  that time passes; the old one's remaining attempts end soon, or wait for an answer
    3  those that wait are copied to the new one; both get a time from which the new one ends them
    4  that time passes; the old one is let go

The two programs read the clock at different instants. An attempt that begins or ends within those
microseconds is reported twice, or not at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tcp_trace.kernel import gate
from tcp_trace.kernel.gate import Role

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds: longer than both gates take to write, and than a program runs.
_NOTICE = 0.02
# Seconds: longer than most answered connects take.
_SETTLING = 0.1


def take_over(old: int, new: int, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Move the work of the program of the gate `old` to that of the gate `new`.

    `before` copies what the new one needs from the beginning, `after` attempts. An interrupted
    take-over is resumed. Raises OSError.
    """
    before()
    from_ns = _begin(old, new)
    _wait_until(from_ns + int(_SETTLING * 1e9))
    after()
    until_ns = _soon()
    _write(old, new, from_ns, until_ns)
    _wait_until(until_ns + int(_NOTICE * 1e9))
    gate.write(new, Role.OPEN)


def _begin(old: int, new: int) -> int:
    said = gate.read(new)
    if said.role is Role.COMING:
        return said.from_ns
    from_ns = _soon()
    _write(old, new, from_ns, gate.NEVER)
    return from_ns


def _write(old: int, new: int, from_ns: int, until_ns: int) -> None:
    gate.write(new, Role.COMING, from_ns, until_ns)
    gate.write(old, Role.GOING, from_ns, until_ns)


def _soon() -> int:
    return time.monotonic_ns() + int(_NOTICE * 1e9)


def _wait_until(monotonic_ns: int) -> None:
    time.sleep(max(0.0, (monotonic_ns - time.monotonic_ns()) * 1e-9))
