"""Events, as frozen and typed values.

A datum flows one way: the kernel submits a `Transition`, the tracker turns it into an outcome
(`Begun`, `Established` or `Failure`), incidents turn failures into notifications. Everything here
is decoded once, at the edge (`probes/`), and never changed afterwards. They are
NamedTuples because one is made per record: they cost a third of a frozen dataclass.
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
"""In place of a state: see `Transition`."""


class Moment(NamedTuple):
    """The present, passed in by whoever has a clock.

    `mono` (seconds, CLOCK_MONOTONIC) is for deadlines and durations, which must not jump;
    `wall` (seconds since the epoch) is for what people read and what outlives a restart.
    """

    mono: float
    wall: float


class Destination(NamedTuple):
    """The destination of a connect.

    `address` is the canonical text of an IPv4 or IPv6 address; a v4-mapped one is IPv4. An address
    is another place in every network namespace: `netns` is the namespace's inode number, which the
    kernel gives again, and `netns_mix` the random number by which it tells those apart; both are 0
    for the service's own namespace. It is also another place over every interface that a socket
    is bound to (a VRF, the link of a link-local address): `interface` is its name, its index where
    the name is not known, and empty for a socket that is not bound. By its `kind` it is equal to
    nothing else that can fail.
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
        """Leave out the kind, which the name says: ids of incidents are made of this."""
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
        """Return what others may know: not what seeds the hash tables of a namespace's sockets."""
        return {name: value for name, value in self._asdict().items() if name != "netns_mix"}


class Process(NamedTuple):
    """The process that made an attempt, taken at SYN_SENT, in its own context.

    `comm` is chosen by the process (`prctl(PR_SET_NAME)`): untrusted text of up to 15 bytes,
    decoded with undecodable bytes and control characters escaped. It is the name of the process,
    which is that of its first thread; `thread` is the same of the thread that connected, None
    where that is the first one. `netns` is an inode number. `foreign` says that it is not one of
    the host's own: it has PIDs or cgroups of its own, as in a container.
    `born` is when the process was started, in nanoseconds of CLOCK_MONOTONIC: what tells it from
    another one with its pid. It is 0 where the kernel program learns no names.
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
    """One change of a socket's state, as the kernel submitted it.

    `start_ns` and `start_cpu` say when and on which CPU the attempt began, and so which one it is.
    `start_ns` is 0 and `process` None where the kernel has no entry for the attempt: it began
    before the service, or its entry was evicted. Times are nanoseconds of CLOCK_MONOTONIC,
    `wall` is seconds since the epoch. `errno` is `sk_err`, `soft_errno` is `sk_err_soft`, each 0
    for none; `syns` counts the SYNs that were sent: there may be none.

    With `newstate` `RETURNED` it is no transition: connect() returned the error `errno`, of the
    attempt that began at `start_ns` and ended in that call, or, where that is 0, without sending
    anything. `may_return` says of a transition to CLOSE that such a record may follow,
    `raced` that by its times it may have lost a race against another connect of the same process,
    `unsent` that the socket was closed before anything was sent, and that nothing failed.
    `record` is what it was decoded from.
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
    """An attempt began: its socket went to SYN_SENT."""

    transition: Transition


class Established(NamedTuple):
    """An attempt succeeded, `elapsed` seconds after its SYN_SENT (None where unknown)."""

    transition: Transition
    elapsed: float | None


class Failure(NamedTuple):
    """An attempt ended without ever being established.

    `elapsed` is in seconds and None where the beginning was not seen, `syns` the number of SYNs
    sent, `wall` and `mono` when it ended (see `Moment`), `process` None where the maker is not
    known: it is never guessed; `maker` is what more is known of him, once somebody looked. `host`
    is the name that the destination was asked for by, None where it is not known: see `names`.
    `raced` is what the kernel program thinks of it: see `races`.
    It may stand for several `times` that ended alike: then the rest is of one of them. `record` is
    what it was decoded from. `owner` is the subject of the open incident that it belongs to, where
    that is another than its own: see `incidents/places.py`.
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
        """Why."""
        return self.reason

    @property
    def evidence(self) -> Evidence:
        """What is known of how it failed."""
        return Evidence(self.errno, self.elapsed, self.syns)


class Raced(NamedTuple):
    """An attempt that another one of its process was faster than: no failure, see `races`."""

    failure: Failure


Outcome = Begun | Established | Failure | Raced


class Counters(NamedTuple):
    """The kernel program's counts of one destination since it was first seen.

    `last_established_ns` is CLOCK_MONOTONIC, 0 for never. `latency_ns` is a moving average of the
    time from SYN_SENT to ESTABLISHED, 0 where it is not known.
    """

    established: int
    failed: int
    last_established_ns: int
    latency_ns: int = 0
