"""From records and maps to typed values: the edge at which bytes of the kernel are decoded.

Uses `libbcc_bpf.so.0`, the part of BCC without LLVM, and no privilege. The shapes are those of
bpf/transition.h.
"""

from __future__ import annotations

import ctypes as ct
import os
import re
import socket
import struct
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.events import Counters, Destination, Process, Transition
from tcp_trace.connects.maker import Cgroup
from tcp_trace.connects.races import Rival
from tcp_trace.host import netns
from tcp_trace.safetext import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcp_trace.connects.watch import Rule

# maker: cgroup_id born_ns pid is_foreign uid netns comm thread
MAKER = struct.Struct("=QQ4I16s16s")
# destination: daddr netns.inum netns.hash_mix ifindex dport pad
DESTINATION = struct.Struct("=16s3IHH")
# struct transition: start_ns timestamp_ns | maker | destination | saddr sk_err sk_err_soft
# syns flags lport oldstate newstate start_cpu pad
TRANSITION = struct.Struct(f"=QQ {MAKER.size}s {DESTINATION.size}s 16siiHHHBBII")
_MAY_RETURN = 1
_RACED = 2
_UNSENT = 4
COUNTERS = struct.Struct("=4Q")
WATCH_KEY = struct.Struct("=I4s16s")
TALLY = struct.Struct("=Q")
# racer: pid netns dport pad
RACER = struct.Struct("=IIHH")
# rival: daddr start_ns established_ns outlived_ns[2]
RIVAL = struct.Struct("=16sQQQQ")
RIVALS = 8
CGROUP_ID = struct.Struct("=Q")
_CGROUP_NAME = 256
_CGROUP_LEVELS = 8
# struct cgroup_path: owner names root pad
CGROUP_PATH = struct.Struct("=Q" + f"{_CGROUP_NAME}s" * _CGROUP_LEVELS + "II")
# struct held_key: destination cgroup_id uid slot error flags newstate sent
HELD_KEY = struct.Struct(f"={DESTINATION.size}sQIIiHBB")
# struct held: failures last_ns first
HELD = struct.Struct(f"=QQ{TRANSITION.size}s")
_HELD_SLOT_BITS = 30
# How long a program may take, at the very most, that began before a slot was over.
_GRACE_NS = 100_000_000
_EXECS = 32_768

_V4_MAPPED = b"\0" * 10 + b"\xff\xff"
_PORT_BITS = 32


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


def _libbcc() -> ct.CDLL:
    lib = ct.CDLL("libbcc_bpf.so.0", use_errno=True)
    for name in ("bpf_lookup_elem", "bpf_delete_elem", "bpf_get_next_key", "bpf_update_elem"):
        getattr(lib, name).argtypes = [ct.c_int, ct.c_char_p, ct.c_char_p, ct.c_uint64]
    lib.bpf_lookup_elem.argtypes = lib.bpf_get_next_key.argtypes = [
        ct.c_int,
        ct.c_char_p,
        ct.c_char_p,
    ]
    lib.bpf_delete_elem.argtypes = [ct.c_int, ct.c_char_p]
    return lib


_LIB = _libbcc()


class Held(NamedTuple):
    """Failures that the kernel program counted and did not submit: they ended as `first` did.

    `last_ns` is when the last of them did, in nanoseconds of CLOCK_MONOTONIC.
    """

    first: Transition
    failures: int
    last_ns: int


def decode_all(records: Iterable[bytes]) -> list[Transition]:
    """Decode records of a ring, each a `struct transition`."""
    to_wall = time.time() - time.monotonic()
    return [decode(record, to_wall) for record in records]


def decode(record: bytes, to_wall: float) -> Transition:
    """Decode one `struct transition`; `to_wall` leads from CLOCK_MONOTONIC to the epoch."""
    (
        start_ns, timestamp_ns, maker, destination, saddr,
        errno, soft_errno, syns, flags, lport, oldstate, newstate, start_cpu, _,
    ) = TRANSITION.unpack_from(record)  # fmt: skip
    return Transition(
        start_ns,
        start_cpu,
        timestamp_ns,
        timestamp_ns * 1e-9 + to_wall,
        oldstate,
        newstate,
        destination_of(destination),
        _address(saddr),
        lport,
        _process(maker),
        errno,
        soft_errno,
        syns,
        bool(flags & _MAY_RETURN),
        bool(flags & _RACED),
        bool(flags & _UNSENT),
    )


# Few makers connect to few destinations: most of a record is known from one before. A value of
# these takes 300 bytes.


@lru_cache(maxsize=1024)
def destination_of(packed: bytes) -> Destination:
    """Decode one `struct destination`."""
    daddr, inum, hash_mix, ifindex, dport, _ = DESTINATION.unpack(packed)
    interface = netns.interface(inum, ifindex)
    return Destination(_address(daddr), dport, inum, hash_mix, interface)


@lru_cache(maxsize=1024)
def _process(packed: bytes) -> Process | None:
    cgroup_id, born, pid, is_foreign, uid, inum, comm, thread = MAKER.unpack(packed)
    if not pid:
        return None
    name = _text(thread) or None
    return Process(pid, _text(comm), uid, cgroup_id, inum, name, bool(is_foreign), born)


@lru_cache(maxsize=1024)
def _address(packed: bytes) -> str:
    if packed.startswith(_V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def pack(address: str) -> bytes:
    """Return the 16 bytes by which the kernel program knows an address."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return _V4_MAPPED + socket.inet_pton(socket.AF_INET, address)


def _text(comm: bytes) -> str:
    """Return a process's name for itself, of which nothing is to be believed."""
    return printable(comm.partition(b"\0")[0].decode(errors="backslashreplace"))


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Return what a map holds for a key, `size` bytes, None for nothing."""
    value = ct.create_string_buffer(size)
    return None if _LIB.bpf_lookup_elem(fd, key, value) else value.raw


def replace(fd: int, old: frozenset[bytes], new: frozenset[bytes]) -> None:
    """Let a map that is a set have the keys `new` in place of `old`; what is in both stays.

    Raises OSError, of which nothing is undone.
    """
    for key in new - old:
        if _LIB.bpf_update_elem(fd, key, b"\1", 0):
            raise OSError(ct.get_errno(), _last_error())
    for key in old - new:
        _LIB.bpf_delete_elem(fd, key)


def keys(fd: int, size: int) -> list[bytes]:
    """Return the keys of a map, `size` bytes each."""
    found: list[bytes] = []
    following = ct.create_string_buffer(size)
    while not _LIB.bpf_get_next_key(fd, found[-1] if found else None, following):
        found.append(following.raw)
    return found


class Maps:
    """The kernel program's maps, by their descriptors."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._fds = fds
        self._watched: frozenset[Rule] = frozenset()

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

    def rivals(self, process: Process, port: int) -> list[Rival]:
        """Return the last successes of a process on a port, one for each of a few addresses."""
        key = RACER.pack(process.pid, process.netns, port, 0)
        value = self._lookup("races", key, RIVAL.size * RIVALS) or b""
        return [
            Rival(_address(daddr), *(nanoseconds * 1e-9 for nanoseconds in times))
            for daddr, *times in RIVAL.iter_unpack(value)
            if times[1]
        ]

    def cgroup(self, cgroup_id: int) -> Cgroup | None:
        """Return a cgroup that somebody has connected from; None where nothing is known of it.

        Of one that lies deeper than 8 levels the paths are the innermost ones; bytes that are no
        UTF-8 are escaped, and every name is chosen by somebody.
        """
        value = self._lookup("cgroups", CGROUP_ID.pack(cgroup_id), CGROUP_PATH.size)
        if value is None:
            return None
        owner, *names, root, _ = CGROUP_PATH.unpack(value)
        return Cgroup(_path(names), _path(names[root:]), owner)

    def last_exec(self, pid: int) -> float:
        """Return when this process became another program, or one that shares its place did.

        In seconds of CLOCK_MONOTONIC; 0 for never since the program was attached.
        """
        value = self._lookup("execs", struct.pack("=I", pid % _EXECS), TALLY.size)
        return float(TALLY.unpack(value)[0]) * 1e-9 if value else 0.0

    def held(self, *, everything: bool = False) -> list[Held]:
        """Take what was held back, of slots of time that are over: about a second each.

        At the end `everything` is taken: what the kernel program adds meanwhile may be lost.
        """
        fd = self._fds["held"]
        now_ns = time.monotonic_ns()
        to_wall = time.time() - now_ns * 1e-9
        over = (1 << 32) if everything else now_ns - _GRACE_NS >> _HELD_SLOT_BITS
        taken: list[Held] = []
        for key in keys(fd, HELD_KEY.size):
            value = lookup(fd, key, HELD.size) if HELD_KEY.unpack(key)[3] < over else None
            if value is not None:
                _LIB.bpf_delete_elem(fd, key)
                failures, last_ns, first = HELD.unpack(value)
                taken.append(Held(decode(first, to_wall), failures, last_ns))
        return taken

    def tally(self, name: str) -> int:
        """Return one of the `Tallies`."""
        key = struct.pack("=I", Tallies._fields.index(name))
        return int(TALLY.unpack(self._lookup("tallies", key, TALLY.size) or bytes(TALLY.size))[0])

    def tallies(self) -> Tallies:
        """Return what the program counted so far."""
        return Tallies(*map(self.tally, Tallies._fields))

    def watch(self, rules: Iterable[Rule]) -> None:
        """Let the kernel watch what `rules` say, and nothing else.

        What is new is added before what is old is removed, so that nothing that was and stays
        watched is missed in between. An attempt in flight keeps the entry it began with.
        Raises OSError, of which nothing is undone.
        """
        wanted = frozenset(rules)
        for rule in wanted - self._watched:
            if _LIB.bpf_update_elem(self._fds["watched"], _watch_key(rule), b"\1", 0):
                raise OSError(ct.get_errno(), f"cannot watch {rule}: {_last_error()}")
        for rule in self._watched - wanted:
            _LIB.bpf_delete_elem(self._fds["watched"], _watch_key(rule))
        self._watched = wanted

    def _lookup(self, name: str, key: bytes, size: int) -> bytes | None:
        return lookup(self._fds[name], key, size)


def _path(names: list[bytes]) -> str:
    """Return the path of a cgroup, `/` for the root; the innermost of its names comes first."""
    present = [name.partition(b"\0")[0] for name in names]
    return "/" + b"/".join(reversed([n for n in present if n])).decode(errors="backslashreplace")


def missed_runs(programs: Iterable[int]) -> int:
    """Return how often programs were not run since they were running already on that CPU.

    `programs` are their descriptors. The kernel counts it since commit 9ed9e9ba2337 (in v5.12).
    """
    infos = map(_fdinfo, programs)
    found = (re.search(r"^recursion_misses:\s*(\d+)$", info, re.MULTILINE) for info in infos)
    return sum(int(misses[1]) for misses in found if misses)


def _fdinfo(fd: int) -> str:
    try:
        return Path(f"/proc/self/fdinfo/{fd}").read_text()
    except PermissionError:
        # Of a process that cannot be looked into, it is root's own until commit 7bc3fa0172a4
        # ("procfs: allow reading fdinfo with PTRACE_MODE_READ", in v5.14).
        return ""


def _watch_key(rule: Rule) -> bytes:
    network = rule.network
    return WATCH_KEY.pack(
        _PORT_BITS + network.prefixlen,
        rule.port.to_bytes(4, "big"),
        network.network_address.packed,
    )


def _last_error() -> str:
    return os.strerror(ct.get_errno())
