"""Another kind of failure: a listener whose queue overflows."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tcp_trace.connects.events import Destination, Process
from tcp_trace.connects.maker import Maker
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.topics import Topic
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import World

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification

NGINX = Process(812, "nginx", 33, 78, 4_026_531_840)


SHOP = Maker("www-data", "shop.service", None)


class Listener(NamedTuple):
    """What overflows."""

    address: str
    port: int
    netns: int = 0
    netns_mix: int = 0
    interface: str = ""
    kind: Literal["listener"] = "listener"

    def __str__(self) -> str:
        """`*:80`."""
        return f"*:{self.port}"

    @property
    def endpoint(self) -> None:
        """None: no rule means it."""

    @property
    def site(self) -> Listener:
        """The same in no namespace."""
        return self._replace(netns=0, netns_mix=0)

    def published(self) -> dict[str, Any]:
        """Return what is published."""
        return {"kind": self.kind, "port": self.port, "netns": self.netns}


class Drops(NamedTuple):
    """How it overflowed."""

    limit: int = 0
    drops: int | None = None


class Overflow(Enum):
    """Why it overflows; one has the name of a reason why connects fail."""

    ACCEPT = "accept_queue_full"
    TIMED_OUT = "timed_out"

    @property
    def kind(self) -> Literal["listener"]:
        """What it is said of."""
        return "listener"

    @property
    def summary(self) -> str:
        """What happened."""
        return "the accept queue is full" if self is Overflow.ACCEPT else "timed out: no third ACK"

    @property
    def check_first(self) -> str:
        """What to do."""
        return "Does the program still accept?"

    def describe(self, evidence: Drops, *, in_full: bool) -> str:
        """Say it with the limit, and how many where it is of one failure."""
        drops = f", {evidence.drops} dropped" if in_full else ""
        return f"{self.summary} (limit {evidence.limit}{drops})"


class Overflowed(NamedTuple):
    """One failure."""

    subject: Listener
    cause: Overflow
    evidence: Drops
    wall: float
    mono: float
    process: Process | None = NGINX
    maker: Maker = SHOP
    host: str | None = None
    times: int = 1

    @property
    def place(self) -> Listener:
        """Nobody asks for one by name."""
        return self.subject

    def belonging_to(self, owner: Listener) -> Overflowed:
        """Return it as one of another."""
        return self._replace(subject=owner)


class Host(World):
    """A host on which listeners overflow, too."""

    def overflow(
        self, port: int = 80, cause: Overflow = Overflow.ACCEPT, netns: int = 0, times: int = 1
    ) -> list[Notification]:
        """Let a queue drop connects; what the kernel accepted of them is counted likewise."""
        told = []
        for number in range(1, times + 1):
            listener = Listener("10.0.0.5", port, netns, netns)
            self._count(listener, established=False)  # type: ignore[arg-type]
            failure = Overflowed(listener, cause, Drops(511, number), self.now.wall, self.mono)
            told += self.incidents.failed(failure, self.now, self)
        self.fed += times
        return self._tell(told)

    def accept(self, port: int = 80) -> None:
        """Let one be accepted."""
        self._count(Listener("10.0.0.5", port), established=True)  # type: ignore[arg-type]

    def restart(self) -> None:
        """Save all of it, and take it up again."""
        saved = json.loads(json.dumps(self.incidents.dump(self.now)))
        silences = self.incidents.silences
        self.incidents = Incidents.load(saved, self.policy, self.now, silences)
        assert json.loads(json.dumps(self.incidents.dump(self.now))) == saved


def silenced(host: Host, what: str) -> None:
    """Let a silence hold."""
    host.incidents.silences = Silences([Silence("s", parse_match(what), 0, 10_000_000_000)])


def storm(host: Host) -> Notification:
    """Return the digest of three listeners and four destinations, when four opened alone."""
    for number in range(4):
        host.fail(Destination(f"10.9.0.{number}", 443))
    for number in range(4):
        host.fail(Destination(f"10.1.0.{number}", 443))
    for port in range(81, 84):
        host.overflow(port)
    (digest,) = [n for n in host.wait(6) if n.is_digest]
    return digest


TOPIC = Topic(
    Listener, Overflow, Drops,
    attempt="connect of others", attempts="connects of others", activity="connects of others to",
    plural="listeners", usually="accepts in", works="accepts again",
    unseen="nobody connected since", untried="nobody has connected", alert="TcpListener",
    label="listener",
)  # fmt: skip
