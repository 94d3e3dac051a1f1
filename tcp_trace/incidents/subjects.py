"""What fails and why, as values: all that incidents, silences, routes and words know of a failure.

A *subject* is what people hear of: a destination, say. A *cause* is why it fails, with its
evidence. Each kind of failure has its own (see `topics.py`); the machine for all of them is one.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from tcp_trace.connects.watch import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tcp_trace.connects.events import Moment, Process
    from tcp_trace.connects.maker import Maker
    from tcp_trace.connects.watch import Endpoint, Name, Rule


class Subject(Protocol):
    """What fails: a NamedTuple whose last field is its `kind`, so that no two kinds are equal.

    That has its value by default, and so does every field that is added, before it, later on.
    `str()` of it is what people read, and may hold text that others chose.
    """

    @property
    def kind(self) -> str:
        """The name of its topic."""

    @property
    def netns(self) -> int:
        """The number (inode) of its network namespace, 0 for the service's own."""

    @property
    def endpoint(self) -> Endpoint | None:
        """The address or name, and port, by which silences and routes mean it; None for none."""

    @property
    def site(self) -> Subject:
        """What it has in common with the same in other network namespaces."""

    def published(self) -> dict[str, Any]:
        """Return the fields that other programs may know."""

    def _asdict(self) -> dict[str, Any]: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __hash__(self) -> int: ...


class Cause(Protocol):
    """Why it fails: a member of an enumeration, whose `value` is its name in logs and JSON."""

    @property
    def kind(self) -> str:
        """The name of the topic of what fails so."""

    @property
    def value(self) -> str:
        """Its name, unique in its topic."""

    @property
    def summary(self) -> str:
        """What happened, in a few words that end a sentence."""

    @property
    def check_first(self) -> str:
        """What the reader should look at first."""

    def describe(self, evidence: Any, *, in_full: bool) -> str:  # noqa: ANN401 - the topic's own
        """Return the summary with what the evidence says, all of it only where it is of one."""

    def __hash__(self) -> int: ...


class Evidence(Protocol):
    """What is known of one failure: a NamedTuple of what JSON has, each field with a default."""

    def _asdict(self) -> dict[str, Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class AnyFailure(Protocol):
    """One failure of any kind, or several `times` that are alike.

    `process` is None where it is not known whose it is; `host` is a name of the subject, beside its
    own, None where it has none. `wall` and `mono` are when it failed (see `Moment`).
    """

    @property
    def subject(self) -> Subject:
        """What failed."""

    @property
    def place(self) -> Subject:
        """The same whatever name it was asked for by; the subject where no names are asked for."""

    def belonging_to(self, owner: Any) -> AnyFailure:  # noqa: ANN401 - a subject of its topic
        """Return it as a failure of another subject, which has its place: see `places`."""

    @property
    def cause(self) -> Cause:
        """Why."""

    @property
    def evidence(self) -> Evidence:
        """What is known of this one."""

    @property
    def process(self) -> Process | None:
        """Whose it is."""

    @property
    def maker(self) -> Maker:
        """More of whose it is."""

    @property
    def host(self) -> str | None:
        """The name that was asked for."""

    @property
    def wall(self) -> float:
        """When, in seconds since the epoch."""

    @property
    def mono(self) -> float:
        """When, in seconds of CLOCK_MONOTONIC."""

    @property
    def times(self) -> int:
        """How many it stands for."""


class Counts(Protocol):
    """What was counted of a subject since it was first seen, successes among it."""

    @property
    def established(self) -> int:
        """Those that succeeded."""

    @property
    def failed(self) -> int:
        """Those that failed."""

    @property
    def last_established_ns(self) -> int:
        """When one last succeeded, CLOCK_MONOTONIC, 0 for never."""

    @property
    def latency_ns(self) -> int:
        """How long a success usually takes, from SYN_SENT on; 0 where it is not known."""


class Seen(Protocol):
    """What the kernel has counted until now, for whoever asks."""

    def counts(self, subject: Subject) -> Counts | None:
        """Return what was counted of a subject, None where nothing is known of it."""

    def working(self, since: float, near: Subject | None = None) -> int:
        """Return how many destinations succeeded since then (CLOCK_MONOTONIC), loopback left out.

        Of `near`, only its neighbours, which are others of its port and /24 or /64. It asks the
        kernel for all destinations: a matter of milliseconds, for rare moments.
        """


class Silencing(Protocol):
    """What says which failures nobody is to hear of."""

    def of(self, failure: AnyFailure, now: Moment) -> str | None:
        """Return the id of a silence that holds for this failure, None where none does."""

    def in_force(self, name: str, now: Moment) -> bool:
        """Return whether the silence of this id holds now."""

    def until_recovered(self, meant: Iterable[Endpoint]) -> set[str]:
        """Return the ids of those that end when one of these endpoints has recovered."""

    def __bool__(self) -> bool: ...

    def __contains__(self, name: object) -> bool: ...


def succeeded_since(seen: Counts | None, mono: float) -> bool:
    """Return whether there was a success after a failure at `mono`.

    Both are times of the same kernel clock, so a success from before the failure cannot pass for
    one after it. The microsecond is for `mono`, a float: it holds a year's uptime to some ns.
    A failure from before this boot has a time below 0, which is not later than never.
    """
    return seen is not None and seen.last_established_ns > max(0.0, mono * 1e9 + 1000)


def neighbourhood(subject: Subject) -> tuple[str, int] | None:
    """Return the /24 or /64 of a subject and its port, None for what has no address.

    A name has no neighbours but itself in other network namespaces.
    """
    endpoint = subject.endpoint
    if endpoint is not None and endpoint.name is not None:
        return f"name {endpoint.name}", endpoint.port
    if endpoint is None or endpoint.address is None:
        return None
    address, port = endpoint.address, endpoint.port
    if ":" not in address:
        return address.rpartition(".")[0], port
    return ":".join(ip_address(address).exploded.split(":")[:4]), port


def is_within(endpoints: Iterable[Endpoint | None], rules: Collection[Rule | Name]) -> bool:
    """Return whether a rule means one of these endpoints; the one for everything means all."""
    if EVERYTHING in rules:
        return True
    return any(rule.holds(each) for each in endpoints if each is not None for rule in rules)


def endpoints(
    subject: Subject, addresses: Iterable[str] = (), hosts: Iterable[str] = ()
) -> list[Endpoint]:
    """Return how a subject can be meant that failed at these addresses, by these names."""
    own = subject.endpoint
    if own is None:
        return []
    places = [own._replace(address=address) for address in addresses]
    return [own, *places, *(own._replace(name=host) for host in hosts)]


def is_name(subject: Subject | None) -> bool:
    """Return whether it is a name that was asked for, whatever addresses it has."""
    endpoint = None if subject is None else subject.endpoint
    return endpoint is not None and endpoint.name is not None


def address_of(place: Subject) -> str | None:
    """Return the address of what failed, None where it has none."""
    return None if place.endpoint is None else place.endpoint.address


def placed(subject: Subject) -> str:
    """`10.0.0.5:5432 (netns 4026532281)`: with its namespace, unless that is the service's."""
    return f"{subject} (netns {subject.netns})" if subject.netns else str(subject)
