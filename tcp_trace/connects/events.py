"""Events, as frozen and typed values.

Data flows one way: the kernel submits a `Transition`, the tracker turns it into an outcome
(`Begun`, `Established` or `Failure`), and incidents turn failures into notifications. Events are
decoded once, at the edge (`probes/`), and never change. They are NamedTuples because one is made
per record: they cost a third of a frozen dataclass.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.maker import UNKNOWN, Maker
from tcp_trace.connects.reasons import Evidence
from tcp_trace.connects.watch import Endpoint

if TYPE_CHECKING:
    from tcp_trace.connects.reasons import Reason


class State(IntEnum):
    """TCP states as the kernel numbers them (`include/net/tcp_states.h`)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


RETURNED = 0
"""Stands in place of a state: see `Transition`."""


class Moment(NamedTuple):
    """The time, passed in by the caller with the clock.

    `mono` (seconds, CLOCK_MONOTONIC) is for deadlines and durations, which must not jump. `wall`
    (seconds since the epoch) is for people, and for data that outlives a restart.
    """

    mono: float
    wall: float


class Destination(NamedTuple):
    """The destination of a connect.

    `address` is the canonical text of an IPv4 or IPv6 address; a v4-mapped one is IPv4. The same
    address in another network namespace is another destination: `netns` is the namespace's inode
    number, which the kernel reuses; `netns_mix` is a random number that distinguishes namespaces
    with the same inode. Both are 0 for the service's own. So is the same address over another
    interface that the socket is bound to (a VRF, the link of a link-local address): `interface` is
    its name, its index if the name is unknown, empty for an unbound socket. `kind` keeps it unequal
    to any other kind of subject.
    """

    address: str
    port: int
    netns: int = 0
    netns_mix: int = 0
    interface: str = ""
    kind: Literal["destination"] = "destination"

    def __str__(self) -> str:
        """`10.0.0.5:5432`, `[2001:db8::1]:443` or `[fe80::1%eth0]:443`."""
        address = f"{self.address}%{self.interface}" if self.interface else self.address
        return f"[{address}]:{self.port}" if ":" in self.address else f"{address}:{self.port}"

    def __repr__(self) -> str:
        """Leave out the kind, which the class name says: ids of incidents are made from this."""
        fields = zip(self._fields[:-1], self[:-1], strict=True)
        return f"Destination({', '.join(f'{name}={value!r}' for name, value in fields)})"

    @property
    def endpoint(self) -> Endpoint:
        """The address and port by which silences and routes mean it."""
        return Endpoint(self.address, self.port)

    @property
    def site(self) -> Destination:
        """Address, port and interface: the same in every network namespace."""
        return Destination(self.address, self.port, interface=self.interface)

    def named(self, host: str) -> HostPort:
        """Return it by the name that was asked for."""
        return HostPort(host, self.port, self.netns, self.netns_mix, self.interface)

    @classmethod
    def of(cls, name: HostPort, address: str) -> Destination:
        """Return one of a name's addresses."""
        return cls(address, name.port, name.netns, name.netns_mix, name.interface)

    def published(self) -> dict[str, Any]:
        """Return the fields to publish: all but `netns_mix`, which seeds socket hash tables."""
        return {name: value for name, value in self._asdict().items() if name != "netns_mix"}


class Process(NamedTuple):
    """The process that made an attempt, read at SYN_SENT, in its own context.

    `comm` is chosen by the process (`prctl(PR_SET_NAME)`): untrusted text of up to 15 bytes, with
    undecodable bytes and control characters escaped. It is the name of the first thread; `thread`
    is the name of the connecting thread, None if that is the first one. `netns` is an inode number.
    `foreign` means that the process has PIDs or cgroups of its own, as in a container. `born` is
    its start in nanoseconds of CLOCK_MONOTONIC, which distinguishes it from an earlier process with
    its pid; 0 if the kernel program learns no names.
    """

    pid: int
    comm: str
    uid: int
    cgroup_id: int
    netns: int
    thread: str | None = None
    foreign: bool = False
    born: int = 0


class Transition(NamedTuple):
    """One socket state change, as the kernel program submitted it.

    `start_ns` and `start_cpu`, the time and CPU of its beginning, identify the attempt. `start_ns`
    is 0 and `process` None if the kernel has no entry for the attempt: it began before the service,
    or its entry was evicted. Times are nanoseconds of CLOCK_MONOTONIC; `wall` is seconds since the
    epoch. `errno` is `sk_err`, `soft_errno` is `sk_err_soft`, each 0 for none; `syns` is the number
    of SYNs sent, possibly 0.

    With `newstate` `RETURNED` it is not a transition but the error `errno` returned by connect().
    It belongs to the attempt that began at `start_ns` and ended in that call; if `start_ns` is 0,
    nothing was sent. `may_return` on a transition to CLOSE means that such a record may follow.
    `raced` means that by its times it may have lost a race against another connect of the same
    process. `unsent` means that the socket was closed before anything was sent, so nothing failed.
    `record` has the undecoded bytes.
    """

    start_ns: int
    start_cpu: int
    timestamp_ns: int
    wall: float
    oldstate: int
    newstate: int
    destination: Destination
    local_address: str
    local_port: int
    process: Process | None
    errno: int
    soft_errno: int
    syns: int
    may_return: bool = False
    raced: bool = False
    unsent: bool = False
    record: bytes = b""


class Begun(NamedTuple):
    """An attempt began: its socket entered SYN_SENT."""

    transition: Transition


class Established(NamedTuple):
    """An attempt succeeded, `elapsed` seconds after SYN_SENT (None if unknown)."""

    transition: Transition
    elapsed: float | None


class Failure(NamedTuple):
    """An attempt ended without being established.

    `elapsed` is in seconds, None if the beginning was not seen. `syns` is the number of SYNs sent.
    `wall` and `mono` are its end (see `Moment`). `process` is None if the maker is unknown: it is
    never guessed. `maker` has details added by host look-up. `host` is the name that the process
    looked up for the destination, None if unknown: see `names`. `raced` is the kernel program's
    judgement: see `races`. With `times` above 1 it stands for several that ended alike; the other
    fields are those of one of them. `record` has the undecoded bytes. `owner` is
    the subject of the open incident that it belongs to, where that is not its own: see
    `incidents/places.py`.
    `Counters.last_established_ns` is on the same clock as `mono`.
    """

    destination: Destination
    reason: Reason
    errno: int
    local_port: int
    process: Process | None
    elapsed: float | None
    syns: int
    wall: float
    mono: float
    maker: Maker = UNKNOWN
    host: str | None = None
    raced: bool = False
    times: int = 1
    record: bytes = b""
    owner: Destination | HostPort | None = None

    @property
    def subject(self) -> Destination | HostPort:
        """What people hear of: the name that was asked for, the address where none is known."""
        if self.owner is not None:
            return self.owner
        return self.destination if self.host is None else self.destination.named(self.host)

    @property
    def place(self) -> Destination:
        """What failed, whatever name it was asked for by."""
        return self.destination

    def belonging_to(self, owner: Destination | HostPort) -> Failure:
        """Return it as one of another subject."""
        return self._replace(owner=owner)

    @property
    def cause(self) -> Reason:
        """Why it failed."""
        return self.reason

    @property
    def evidence(self) -> Evidence:
        """How it failed."""
        return Evidence(self.errno, self.elapsed, self.syns)


class Raced(NamedTuple):
    """An attempt that lost a race against another one of its process: no failure, see `races`."""

    failure: Failure


Outcome = Begun | Established | Failure | Raced


class Counters(NamedTuple):
    """The kernel program's counts of one destination since its first attempt.

    `last_established_ns` is CLOCK_MONOTONIC, 0 for never. `latency_ns` is a moving average of the
    time from SYN_SENT to ESTABLISHED, 0 where it is not known.
    """

    established: int
    failed: int
    last_established_ns: int
    latency_ns: int = 0
