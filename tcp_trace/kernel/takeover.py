"""One kernel program takes over from another while connects go on, and each failure is told once.

    1  the new one is attached, and both are told a time from which attempts are the new one's
    2  that has passed; attempts that the old one has had since are short, or wait for an answer
    3  those that wait are copied to the new one, and both are told a time from which it ends them
    4  that has passed: the old one is let go

Between two programs no instant is the same: an attempt that begins or ends within the microseconds
that lie between the clocks of both is told twice, or not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tcp_trace.kernel import gate
from tcp_trace.kernel.gate import Role

if TYPE_CHECKING:
    from collections.abc import Callable

# Longer than it takes to tell both, or a program runs (seconds).
_NOTICE = 0.02
# Longer than connects that are answered mostly take.
_SETTLING = 0.1


def take_over(old: int, new: int, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Let the program of the gate `new` do what that of the gate `old` did.

    `before` copies what the new one needs from the beginning, `after` attempts. Where this was
    begun and not ended, it is gone on with. Raises OSError.
    """
    before()
    from_ns = _begin(old, new)
    _wait_until(from_ns + int(_SETTLING * 1e9))
    after()
    until_ns = _soon()
    _tell(old, new, from_ns, until_ns)
    _wait_until(until_ns + int(_NOTICE * 1e9))
    gate.write(new, Role.OPEN)


def _begin(old: int, new: int) -> int:
    said = gate.read(new)
    if said.role is Role.COMING:
        return said.from_ns
    from_ns = _soon()
    _tell(old, new, from_ns, gate.NEVER)
    return from_ns


def _tell(old: int, new: int, from_ns: int, until_ns: int) -> None:
    gate.write(new, Role.COMING, from_ns, until_ns)
    gate.write(old, Role.GOING, from_ns, until_ns)


def _soon() -> int:
    return time.monotonic_ns() + int(_NOTICE * 1e9)


def _wait_until(monotonic_ns: int) -> None:
    time.sleep(max(0.0, (monotonic_ns - time.monotonic_ns()) * 1e-9))
