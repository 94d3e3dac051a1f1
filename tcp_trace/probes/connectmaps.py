"""What the probe `connect` keeps in the kernel, read when it is wanted."""

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
# How long a program may take, at the very most, that began before a slot was over.
_GRACE_NS = 100_000_000


class Tallies(NamedTuple):
    """What the kernel program counted since it was attached, in records.

    `submitted` reached the ring; `lost` found it full, and were not held either. `evicted` are
    attempts that ended after their entry was gone, or that began before the service. `netted`
    transitions were seen by the net alone; `missed` ones were seen by nobody, which a later one of
    that socket has shown.

    `taken_up` attempts were begun by the net, since the hook was not run.

    Of the service's own network namespace, and with its own connects: `opened` attempts began,
    `unsent` ended before a SYN was sent, `aborted` by an error of the socket. `passive` are the
    failures among handshakes that somebody else began, as often as `AttemptFails` counts them.

    `names_learned` addresses were taken from DNS answers; `names_unkept` answers could not be taken
    in full, of which `names_long` were to a name that is too long.

    `held` failures were counted only: they were beyond the budget of whose they are, or found the
    ring full. `held_full` were beyond a budget, and of too many kinds at once to be counted.
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
    """Failures that the kernel program counted and did not submit: they ended as `first` did.

    `last_ns` is when the last of them did, in nanoseconds of CLOCK_MONOTONIC. `key` is theirs in
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
        """Return what was counted for a destination, None where nothing is known of it."""
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
        lately = [key for key, value in counted.items() if COUNTERS.unpack(value)[2] > since * 1e9]
        if near is None:
            return sum(not is_loopback(key) for key in lately)
        others = [destination_of(key) for key in lately if is_near(key, pack(near.address))]
        return sum(other.port == near.port and other.address != near.address for other in others)

    def rivals(self, process: Process, port: int) -> list[Rival]:
        """Return the last successes of a process on a port, one for each of a few addresses."""
        key = RACER.pack(process.pid, process.netns, port, 0)
        value = self._lookup("races", key, RIVAL.size * RIVALS) or b""
        return [
            Rival(address_of(daddr), *(nanoseconds * 1e-9 for nanoseconds in times))
            for daddr, *times in RIVAL.iter_unpack(value)
            if times[1]
        ]

    def cgroup(self, cgroup_id: int) -> Cgroup | None:
        """Return a cgroup that somebody has connected from; None where nothing is known of it.

        Of one that lies deeper than 8 levels the paths are the innermost ones; bytes that are no
        UTF-8 are escaped, and every name is chosen by somebody.
        """
        value = self._lookup("cgroups", LONG.pack(cgroup_id), CGROUP_PATH.size)
        if value is None:
            return None
        owner, *names, root, _ = CGROUP_PATH.unpack(value)
        return Cgroup(_path(names), _path(names[root:]), owner)

    def last_exec(self, pid: int) -> float:
        """Return when this process became another program, or one that shares its place did.

        In seconds of CLOCK_MONOTONIC; 0 for never since the program was attached.
        """
        value = self._lookup("execs", NUMBER.pack(pid % EXECS), LONG.size)
        return float(LONG.unpack(value)[0]) * 1e-9 if value else 0.0

    def held(self, *, everything: bool = False) -> list[Held]:
        """Return what was held back, of slots of time that are over: about a second each.

        At the end `everything` is returned: what the kernel program adds to it may be lost.
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
        """Remove what was held back and is told."""
        for each in held:
            delete(self._fds["held"], each.key)

    def tally(self, name: str) -> int:
        """Return one of the `Tallies`."""
        key = NUMBER.pack(Tallies._fields.index(name))
        return int(LONG.unpack(self._lookup("tallies", key, LONG.size) or bytes(LONG.size))[0])

    def forget(self) -> None:
        """Count from zero again."""
        for number in range(len(Tallies._fields)):
            update(self._fds["tallies"], NUMBER.pack(number), LONG.pack(0))

    def tallies(self) -> Tallies:
        """Return what the program counted so far."""
        return Tallies(*map(self.tally, Tallies._fields))

    def watch(self, rules: Iterable[Rule]) -> None:
        """Let the kernel watch what `rules` say, and nothing else.

        What is new is added before what is old is removed, so that nothing that was and stays
        watched is missed in between. An attempt in flight keeps the entry it began with.
        Raises OSError, of which nothing is undone.
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
    """Return the path of a cgroup, `/` for the root; the innermost of its names comes first."""
    present = [name.partition(b"\0")[0] for name in names]
    return "/" + b"/".join(reversed([n for n in present if n])).decode(errors="backslashreplace")


def _watch_key(rule: Rule) -> bytes:
    network = rule.network
    return WATCH_KEY.pack(
        _PORT_BITS + network.prefixlen,
        rule.port.to_bytes(4, "big"),
        network.network_address.packed,
    )
