"""Reads the maps of the probe `connect`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.events import Counters
from tcp_trace.connects.maker import Cgroup
from tcp_trace.connects.races import Rival
from tcp_trace.host import netns
from tcp_trace.kernel.maps import batches, delete, items, keys, lookup, update
from tcp_trace.probes.addresses import address_of, destination_of, is_loopback, is_near, pack
from tcp_trace.probes.shapes import (
    CGROUP_PATH,
    COUNTERS,
    DESTINATION,
    EXECS,
    HELD,
    HELD_KEY,
    HELD_SLOT_BITS,
    LONG,
    NUMBER,
    RACER,
    RIVAL,
    RIVALS,
    WATCH_KEY,
)
from tcp_trace.probes.transitions import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcp_trace.connects.events import Destination, Process, Transition
    from tcp_trace.connects.watch import Rule

_PORT_BITS = 32
# The longest that a program which began before the end of a slot can still run.
_GRACE_NS = 100_000_000


class Tallies(NamedTuple):
    """The kernel program's counters since it was attached.

    `submitted` records reached the ring; `lost` ones found it full and were not held either.
    `evicted` attempts ended without an entry: it was evicted, or the attempt began before the
    service. `netted` transitions were seen by the net alone. `missed` ones were seen by neither
    hook nor net, as a later transition of the socket shows.

    `taken_up` attempts were seen to begin by the net alone, since the hook did not run.

    In the service's own network namespace, its own connects included: `opened` attempts began,
    `unsent` ended before a SYN was sent, `aborted` ended with an error in the socket. `passive`
    counts the failures of passive handshakes as `AttemptFails` does.

    `names_learned` addresses were learned from DNS answers. `names_unkept` answers could not be
    read in full; `names_long` of them had too long a name.

    `held` failures were counted only: they were beyond a budget, or found the ring full.
    `held_full` failures were beyond a budget and not counted in `held`, which had no room for
    another kind.
    """

    submitted: int = 0
    lost: int = 0
    evicted: int = 0
    netted: int = 0
    missed: int = 0
    opened: int = 0
    unsent: int = 0
    aborted: int = 0
    names_learned: int = 0
    names_long: int = 0
    taken_up: int = 0
    passive: int = 0
    held: int = 0
    held_full: int = 0
    names_unkept: int = 0


class Held(NamedTuple):
    """Failures that the kernel program counted and did not submit; all ended as `first` did.

    `last_ns` is the time of the last one, in nanoseconds of CLOCK_MONOTONIC. `key` is their key in
    the map.
    """

    first: Transition
    failures: int
    last_ns: int
    key: bytes = b""


class Maps:
    """The maps of the probe `connect`, by their descriptors."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._fds = fds

    def counters(self, destination: Destination) -> Counters | None:
        """Return the counters of a destination, None if it has none."""
        address, port, inum, hash_mix, interface, _ = destination
        ifindex = netns.ifindex(inum, interface)
        if ifindex is None:
            return None
        key = DESTINATION.pack(pack(address), inum, hash_mix, ifindex, port, 0)
        value = self._lookup("destinations", key, COUNTERS.size)
        if value is None:
            return None
        return Counters(*COUNTERS.unpack(value))

    def worked(self, since: float) -> Iterator[list[tuple[Destination, Counters]]]:
        """Yield the counts of those that succeeded since then, of some hundred at once.

        As `working` does, but so that the caller may do something else meanwhile.
        """
        for batch in batches(self._fds["destinations"], DESTINATION.size, COUNTERS.size):
            counted = ((key, Counters(*COUNTERS.unpack(value))) for key, value in batch.items())
            yield [
                (destination_of(key), counters)
                for key, counters in counted
                if counters.last_established_ns > since * 1e9
            ]

    def working(self, since: float, near: Destination | None = None) -> int:
        """Return how many destinations succeeded since then (CLOCK_MONOTONIC), loopback left out.

        Of `near`, only its neighbours: others of its port and /24 or /64. Reads all that are
        counted. Raises OSError where the map cannot be read.
        """
        counted = items(self._fds["destinations"], DESTINATION.size, COUNTERS.size)
        after = max(0.0, since * 1e9)  # before this boot it is below 0; and 0 says never
        lately = [key for key, value in counted.items() if COUNTERS.unpack(value)[2] > after]
        if near is None:
            return sum(not is_loopback(key) for key in lately)
        others = [destination_of(key) for key in lately if is_near(key, pack(near.address))]
        return sum(other.port == near.port and other.address != near.address for other in others)

    def rivals(self, process: Process, port: int) -> list[Rival]:
        """Return the last successes of a process on a port: one for each of up to 8 addresses."""
        key = RACER.pack(process.pid, process.netns, port, 0)
        value = self._lookup("races", key, RIVAL.size * RIVALS) or b""
        return [
            Rival(address_of(daddr), *(nanoseconds * 1e-9 for nanoseconds in times))
            for daddr, *times in RIVAL.iter_unpack(value)
            if times[1]
        ]

    def cgroup(self, cgroup_id: int) -> Cgroup | None:
        """Return a cgroup that a process connected from, None if unknown.

        A cgroup deeper than 8 levels has only its innermost path. Names are untrusted; bytes that
        are not UTF-8 are escaped.
        """
        value = self._lookup("cgroups", LONG.pack(cgroup_id), CGROUP_PATH.size)
        if value is None:
            return None
        owner, *names, root, _ = CGROUP_PATH.unpack(value)
        return Cgroup(_path(names), _path(names[root:]), owner)

    def last_exec(self, pid: int) -> float:
        """Return the time of the last exec of this process, or of one that shares its place.

        In seconds of CLOCK_MONOTONIC; 0 for none since the program was attached.
        """
        value = self._lookup("execs", NUMBER.pack(pid % EXECS), LONG.size)
        return float(LONG.unpack(value)[0]) * 1e-9 if value else 0.0

    def held(self, *, everything: bool = False) -> list[Held]:
        """Return the held failures of time slots that are over; a slot is about a second.

        At the end of the service, `everything` returns the current slot, too; later additions to it
        may be lost.
        """
        fd = self._fds["held"]
        now_ns = time.monotonic_ns()
        to_wall = time.time() - now_ns * 1e-9
        over = (1 << 32) if everything else now_ns - _GRACE_NS >> HELD_SLOT_BITS
        taken: list[Held] = []
        for key in keys(fd, HELD_KEY.size):
            value = lookup(fd, key, HELD.size) if HELD_KEY.unpack(key)[3] < over else None
            if value is not None:
                failures, last_ns, first = HELD.unpack(value)
                taken.append(Held(decode(first, to_wall), failures, last_ns, key))
        return taken

    def let_go(self, held: Iterable[Held]) -> None:
        """Remove held failures that were reported."""
        for each in held:
            delete(self._fds["held"], each.key)

    def tally(self, name: str) -> int:
        """Return one of the `Tallies`."""
        key = NUMBER.pack(Tallies._fields.index(name))
        return int(LONG.unpack(self._lookup("tallies", key, LONG.size) or bytes(LONG.size))[0])

    def forget(self) -> None:
        """Reset all tallies to zero."""
        for number in range(len(Tallies._fields)):
            update(self._fds["tallies"], NUMBER.pack(number), LONG.pack(0))

    def tallies(self) -> Tallies:
        """Return all tallies."""
        return Tallies(*map(self.tally, Tallies._fields))

    def watch(self, rules: Iterable[Rule]) -> None:
        """Watch the destinations of `rules`, and no others.

        New rules are added before old ones are removed, so that a destination in both is watched
        without a gap. An attempt in flight keeps its entry. Raises OSError and undoes nothing.
        """
        wanted = {_watch_key(rule): rule for rule in rules}
        watched = frozenset(keys(self._fds["watched"], WATCH_KEY.size))
        for key in wanted.keys() - watched:
            try:
                update(self._fds["watched"], key, b"\1")
            except OSError as error:
                why = f"cannot watch {wanted[key]}: {error.strerror}"
                raise OSError(error.errno, why) from None
        for key in watched - wanted.keys():
            delete(self._fds["watched"], key)

    def _lookup(self, name: str, key: bytes, size: int) -> bytes | None:
        return lookup(self._fds[name], key, size)


def _path(names: list[bytes]) -> str:
    """Return the path of a cgroup, `/` for the root. Names come innermost first."""
    present = [name.partition(b"\0")[0] for name in names]
    return "/" + b"/".join(reversed([n for n in present if n])).decode(errors="backslashreplace")


def _watch_key(rule: Rule) -> bytes:
    network = rule.network
    return WATCH_KEY.pack(
        _PORT_BITS + network.prefixlen,
        rule.port.to_bytes(4, "big"),
        network.network_address.packed,
    )
