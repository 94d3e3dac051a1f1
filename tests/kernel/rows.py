"""The rows of the matrix: what is connected, and what the application saw of it."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from tcp_trace.commands.sandbox import SERVER, SERVER6
from tcp_trace.connects.reasons import Reason
from tests.kernel.connects import attempt, many
from tests.kernel.ways import TIMES

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[str, int], list[int]]
    """Makes all connects of a row to an address and a port; returns the errnos."""

IPV4, IPV6, MAPPED = "IPv4", "IPv6", "v4-mapped"
SERVERS = {IPV4: SERVER, IPV6: SERVER6, MAPPED: f"::ffff:{SERVER}"}
LOST_RACE = "lost_race"
"""In place of a reason: no failure, but counted."""

_MEANINGS = {
    errno.ECONNREFUSED: Reason.REFUSED.value,
    errno.ETIMEDOUT: Reason.TIMED_OUT.value,
    errno.EINPROGRESS: Reason.CANCELLED.value,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE.value,
    errno.EACCES: Reason.HOST_UNREACHABLE.value,
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE.value,
    errno.EADDRNOTAVAIL: Reason.NO_LOCAL_PORT.value,
    errno.ECONNRESET: Reason.RESET.value,
    errno.EPROTO: f"{Reason.OTHER.value}: EPROTO",
    errno.EINVAL: "EINVAL",
}


@dataclass
class Row:
    """One row of the truth: `make` connects and returns the errnos that the application saw.

    `ends` are those that it may see at all: any other, and it is not the case that it is called.
    `means` says where an errno means something else than elsewhere; `cannot` why no kernel can
    tell the row, `lacks` what this kernel has not and the row needs. `needs_returns` has the errnos
    that only connect() tells by returning them, each with what is told where nobody sees that.
    `unsent` is whether no SYN is sent. A row that is `alone` runs beside no other;
    `by_this_process` is whether this process connects. `late` are the local ports of connects that
    the application measured to have been too late for the row: they were made again.
    """

    case: str
    family: str
    waiting: str
    port: int
    make: Callable[[], list[int]]
    ends: tuple[int, ...]
    means: dict[int, str] = field(default_factory=dict)
    needs_returns: dict[int, str] = field(default_factory=dict)
    cannot: str = ""
    lacks: str = ""
    unsent: bool = False
    alone: bool = False
    by_this_process: bool = True
    seen: list[int] = field(default_factory=list)
    late: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        """Name the row for people."""
        return f"{self.case}, {self.family}, {self.waiting}"

    @property
    def truth(self) -> Counter[str]:
        """How many failures of which reason the service must tell of."""
        return self._counted(_MEANINGS | self.means)

    @property
    def without_returns(self) -> Counter[str]:
        """What is told where connect() cannot be watched returning."""
        return self._counted(_MEANINGS | self.means | self.needs_returns)

    def _counted(self, meanings: dict[int, str]) -> Counter[str]:
        names = (meanings[number] for number in self.seen if number)
        return Counter(name for name in names if name)


class Rows:
    """Makes rows, each with a port of its own."""

    def __init__(self) -> None:
        self._used: Counter[int] = Counter()
        self.rows: list[Row] = []

    def add(
        self,
        case: str,
        base: int,
        makes: dict[str, Make],
        *ends: int,
        to: dict[str, str] = SERVERS,
        **more: object,
    ) -> None:
        """Add a case: a row for each family of `to` and each way to wait of `makes`."""
        for family, address in to.items():
            for waiting, make in makes.items():
                self._used[base] += 1
                port = base + self._used[base]
                ready = partial(make, address, port)
                self.rows.append(Row(case, family, waiting, port, ready, ends, **more))  # type: ignore[arg-type]


def plain(patience: float | None = None, *, lasts: bool = False) -> dict[str, Make]:
    """Return ways to connect once, blocking and not; see `attempt`."""

    def make(address: str, port: int, *, blocking: bool) -> list[int]:
        once = partial(attempt, address, port, blocking=blocking, patience=patience, lasts=lasts)
        return many(TIMES, once)

    return waiting(make)


def waiting(make: Callable[..., list[int]]) -> dict[str, Make]:
    """Return a way that takes `blocking`, for both."""
    return {
        "blocking": partial(make, blocking=True),
        "non-blocking": partial(make, blocking=False),
    }


def own(function: Make) -> dict[str, Make]:
    """Return a way that has its own idea of waiting, gone as often as it takes."""

    def make(address: str, port: int) -> list[int]:
        return list(chain.from_iterable(many(TIMES, lambda: function(address, port))))

    return once(make)


def once(make: Make) -> dict[str, Make]:
    """Return a way of its own that makes all connects itself."""
    return {"its own": make}
