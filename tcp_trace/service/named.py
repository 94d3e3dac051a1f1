"""What the kernel counted of a name: at all addresses that it is known to have.

The kernel counts by address. Of two names with one address each has what is counted there: to TCP
they are one place. A name has the addresses that failed for it, those that it has as a watched
host, and those that answers gave for it to somebody who is to be believed: in another network
namespace anybody there, in the service's own a process or user that failed by this name, root, or
a daemon of the system. So whoever made none of the failures cannot let them seem mended.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from tcp_trace.connects.events import Counters, Destination
from tcp_trace.connects.watch import ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tcp_trace.connects.events import Failure
    from tcp_trace.connects.hostport import HostPort
    from tcp_trace.probes.names import Hearing

ItemT = TypeVar("ItemT")

NAMES_MOST = 4096
"""Names of which addresses and totals are remembered: the last that failed or were asked for.

Each takes about 800 bytes.
"""

FRESH_SECONDS = 10.0
"""What programs were told is read again after this time."""

_NOTHING = Counters(0, 0, 0)
_MAKERS_MOST = 16
_COUNTED_MOST = 4 * ADDRESSES_MAX


class Counting(Protocol):
    """What Named needs of the maps of connects."""

    def counters(self, destination: Destination, /) -> Counters | None:
        """Return what was counted of a destination, None where nothing is known of it."""


class Learning(Protocol):
    """What Named needs of the names that answers gave."""

    @property
    def speakers(self) -> Collection[int]:
        """The users whose look-ups are others', too."""

    def hearings(self) -> Telling:
        """Return what was told until now."""


class Telling(Protocol):
    """Who was told which addresses."""

    def of(self, name: str, now: float, /) -> list[Hearing]:
        """Return those for a name, that count now."""


class Named:
    """Totals of names, which only ever grow: an address that is found later counts from then on.

    `maps` and `names` return those in use, `resolved` the addresses of a host that is watched by
    name.
    """

    def __init__(
        self,
        maps: Callable[[], Counting],
        names: Callable[[], Learning],
        resolved: Callable[[str], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maps = maps
        self._names = names
        self._resolved = resolved
        self._clock = clock
        self._known: OrderedDict[HostPort, _Name] = OrderedDict()
        self._hearings: Telling | None = None
        self._read = 0.0

    def note(self, failure: Failure) -> None:
        """Remember where a failure was of which the name is known, and whose."""
        if failure.host is not None:
            name = self._of(failure.destination.named(failure.host))
            name.failed = _latest(name.failed, failure.destination.address, ADDRESSES_MAX)
            if failure.process is not None:
                name.users = _latest(name.users, failure.process.uid, _MAKERS_MOST)
                name.processes = _latest(name.processes, failure.process.pid, _MAKERS_MOST)

    def forget(self) -> None:
        """Free what programs were told, once it would be read again anyway."""
        if self._clock() - self._read >= FRESH_SECONDS:
            self._hearings = None

    def counts(self, subject: HostPort) -> Counters | None:
        """Return the sum over its addresses, None where nothing is counted at any."""
        maps = self._maps()
        counted = {
            each.address: counters
            for each in self.destinations(subject)
            if (counters := maps.counters(each)) is not None
        }
        return self._of(subject).take(counted, self._clock())

    def destinations(self, subject: HostPort) -> list[Destination]:
        """Return its addresses, as places: those that failed come first."""
        name = self._of(subject)
        addresses = dict.fromkeys([*name.failed, *self._found(subject, name)])
        return [Destination.of(subject, address) for address in islice(addresses, ADDRESSES_MAX)]

    def _of(self, subject: HostPort) -> _Name:
        name = self._known.setdefault(subject, _Name())
        self._known.move_to_end(subject)
        if len(self._known) > NAMES_MOST:
            self._known.popitem(last=False)
        return name

    def _found(self, subject: HostPort, name: _Name) -> Iterator[str]:
        """Yield the addresses that it has beside those that failed, the latest answer first."""
        if not subject.netns:
            yield from self._resolved(subject.host)
        now = self._clock()
        if self._hearings is None or now - self._read >= FRESH_SECONDS:
            self._read, self._hearings = now, self._names().hearings()
        hearings = self._hearings.of(subject.host, now)
        users = {*name.users, *self._names().speakers}
        for heard in hearings:
            whose = users if heard.is_shared else name.processes
            is_believed = subject.netns or heard.who in whose
            if is_believed and (heard.netns, heard.netns_mix) == subject[2:4]:
                yield heard.address


class _Name:
    """What is known of one name: where it failed and whose, and what was counted."""

    __slots__ = ("asked", "established", "failed", "failures", "last", "processes", "users")

    def __init__(self) -> None:
        self.failed: tuple[str, ...] = ()
        self.users: tuple[int, ...] = ()
        self.processes: tuple[int, ...] = ()
        self.last: dict[str, Counters] = {}
        self.established = self.failures = 0
        self.asked = 0.0

    def take(self, counted: dict[str, Counters], now: float) -> Counters | None:
        """Take in what is counted at addresses `now`; return the totals, None for none yet.

        The latency is that of the most used address.
        """
        is_first = not self.last
        for address, counters in counted.items():
            before = _NOTHING if is_first else self._before(address, counters)
            self.established += counters.established - before.established
            self.failures += counters.failed - before.failed
            self.last[address] = counters
        for address in list(self.last)[:-_COUNTED_MOST]:
            del self.last[address]
        self.asked = now
        if not self.last:
            return None
        most = max(self.last.values())
        last_ns = max(counted.last_established_ns for counted in self.last.values())
        return Counters(self.established, self.failures, last_ns, most.latency_ns)

    def _before(self, address: str, now: Counters) -> Counters:
        """Return how much of what is counted at an address is in the totals, or is not to be."""
        before = self.last.get(address)
        if before is None:  # of what it did before nothing is of this name; but that it works is
            works = now.last_established_ns > self.asked * 1e9
            return now._replace(established=now.established - works)
        if now.established < before.established or now.failed < before.failed:
            return _NOTHING  # the kernel had forgotten it
        return before


def _latest(known: tuple[ItemT, ...], item: ItemT, most: int) -> tuple[ItemT, ...]:
    """Return the items with this one at the end, as many of the latest as are kept."""
    if known and known[-1] == item:
        return known
    return (*(other for other in known if other != item), item)[-most:]
