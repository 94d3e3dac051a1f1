"""What was counted of a name: at which addresses, and told by whom."""

from __future__ import annotations

import pytest

from tcp_trace.connects.events import Counters, Destination, Failure, Moment, Process
from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.memory import Memory
from tcp_trace.probes.names import Hearing
from tcp_trace.service.counted import Recalled
from tcp_trace.service.named import FRESH_SECONDS, NAMES_MOST, Named

NAME = "db.example.com"
SUBJECT = HostPort(NAME, 5432)
A, B, C = (Destination(f"10.0.0.{number}", 5432) for number in (5, 6, 7))
ROOT, MINE, OTHERS = 0, 1000, 1001
PSQL = Process(4711, "psql", MINE, 77, 1)


class Told:
    """What was told at one time."""

    def __init__(self, told: dict[str, list[Hearing]]) -> None:
        self._told = {name: list(heard) for name, heard in told.items()}

    def of(self, name: str, _: float) -> list[Hearing]:
        """Return what was told for a name."""
        return self._told.get(name, [])


class Kernel:
    """What is counted, and told, and when it is asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counted: dict[Destination, Counters] = {}
        self.told: dict[str, list[Hearing]] = {}
        self.watched: dict[str, list[str]] = {}
        self.speakers = {ROOT}
        self.named = Named(
            lambda: self, lambda: self, lambda name: self.watched.get(name, []), lambda: self.now
        )

    def counters(self, destination: Destination) -> Counters | None:
        """Return what is counted."""
        return self.counted.get(destination)

    def hearings(self) -> Told:
        """Return what was told."""
        return Told(self.told)

    def fail(self, destination: Destination = A, name: str = NAME) -> None:
        """Let one fail that was asked for by name."""
        self.named.note(
            Failure(
                destination, Reason.REFUSED, 111, 1, PSQL, 0.1, 1, 0.0, self.now, host=name
            )
        )  # fmt: skip

    def tell(self, destination: Destination, who: int, *, shared: bool) -> None:
        """Let an answer give the name this address."""
        heard = Hearing(destination.address, who, shared, destination.netns, destination.netns_mix)
        self.told.setdefault(NAME, []).append(heard)


def test_the_sum_over_its_addresses() -> None:
    """The last success is that of any, the latency that of the most used one."""
    kernel = Kernel()
    assert kernel.named.counts(SUBJECT) is None
    kernel.fail(A)
    kernel.fail(B)
    kernel.counted = {A: Counters(3, 4, 500, 9), B: Counters(100, 1, 400, 7), C: Counters(1, 1, 1)}
    assert kernel.named.counts(SUBJECT) == Counters(103, 5, 500, 7)
    assert kernel.named.counts(SUBJECT._replace(port=1)) is None


def test_an_address_that_is_found_later_counts_from_then_on() -> None:
    """What it did before is of other names: the share of an outage must not fall by it."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.counted = {A: Counters(10, 1, 500), B: Counters(1_000_000, 3, int(999e9))}
    assert kernel.named.counts(SUBJECT) == Counters(10, 1, 500)
    kernel.fail(B)
    assert kernel.named.counts(SUBJECT) == Counters(10, 1, int(999e9))
    kernel.counted[B] = Counters(1_000_002, 4, int(1001e9))
    assert kernel.named.counts(SUBJECT) == Counters(12, 2, int(1001e9))
    kernel.fail(C)
    kernel.counted[C] = Counters(70, 0, int(1002e9))  # it works since the last look
    assert kernel.named.counts(SUBJECT) == Counters(13, 2, int(1002e9))


def test_what_the_kernel_forgot_is_not_taken_back() -> None:
    """Totals only ever grow, when an entry is evicted and when it begins anew."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.counted = {A: Counters(10, 5, 500)}
    assert kernel.named.counts(SUBJECT) == Counters(10, 5, 500)
    kernel.counted = {}
    assert kernel.named.counts(SUBJECT) == Counters(10, 5, 500)
    kernel.counted = {A: Counters(1, 2, 600)}
    assert kernel.named.counts(SUBJECT) == Counters(11, 7, 600)


@pytest.mark.parametrize(
    ("who", "shared", "counts"),
    [
        (PSQL.pid, False, True),
        (PSQL.pid + 1, False, False),
        (MINE, True, True),
        (ROOT, True, True),
        (OTHERS, True, False),
        (MINE, False, False),  # a process of that number
    ],
)
def test_who_is_believed(who: int, *, shared: bool, counts: bool) -> None:
    """Of this namespace who failed by that name, root and daemons: no others mend an outage."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.tell(B, who, shared=shared)
    kernel.counted = {A: Counters(0, 1, 0), B: Counters(7, 0, 900)}
    expected = Counters(7, 1, 900) if counts else Counters(0, 1, 0)
    assert kernel.named.counts(SUBJECT) == expected


def test_in_another_namespace_anybody_there_is_believed() -> None:
    """A process that is started anew for each attempt has another number each time."""
    kernel = Kernel()
    inside, outside = B._replace(netns=9, netns_mix=1), C
    subject = SUBJECT._replace(netns=9, netns_mix=1)
    kernel.fail(A._replace(netns=9, netns_mix=1))
    kernel.tell(inside, 99, shared=False)
    kernel.tell(outside, 99, shared=False)
    kernel.tell(B._replace(address="10.0.0.8", netns=9, netns_mix=2), 99, shared=False)
    kernel.counted = {
        inside: Counters(7, 0, 900),
        outside: Counters(50, 0, 950),
        C._replace(netns=9, netns_mix=1): Counters(60, 0, 960),
        Destination("10.0.0.8", 5432, 9, 1): Counters(70, 0, 970),
    }
    assert kernel.named.counts(subject) == Counters(7, 0, 900)


def test_a_watched_host_has_the_addresses_that_were_looked_up() -> None:
    """Also those that nobody failed at, in the service's own namespace."""
    kernel = Kernel()
    kernel.watched = {NAME: [B.address]}
    kernel.counted = {B: Counters(7, 0, 900)}
    assert kernel.named.counts(SUBJECT) == Counters(7, 0, 900)
    assert kernel.named.counts(SUBJECT._replace(netns=9)) is None


def test_what_was_told_is_read_again_after_a_while() -> None:
    """It takes milliseconds, and many names may be asked for at once."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.named.counts(SUBJECT)
    kernel.told = {NAME: [Hearing(B.address, ROOT, is_shared=True, netns=0, netns_mix=0)]}
    kernel.counted = {B: Counters(7, 0, int(1005e9))}
    assert kernel.named.counts(SUBJECT) is None
    kernel.now += FRESH_SECONDS
    assert kernel.named.counts(SUBJECT) == Counters(7, 0, int(1005e9))


def test_what_is_remembered_is_bounded() -> None:
    """Names that did not fail for long are forgotten: then what is counted is counted anew."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.counted = {A: Counters(10, 1, 500)}
    for number in range(NAMES_MOST):
        kernel.fail(B, f"host-{number}.example.com")
    assert kernel.named.counts(SUBJECT) is None
    for number in range(200):
        kernel.fail(Destination(f"10.9.0.{number}", 5432))
    kernel.counted = {
        Destination(f"10.9.0.{number}", 5432): Counters(1, 0, 1) for number in range(200)
    }
    assert kernel.named.counts(SUBJECT) == Counters(64, 0, 1)


def test_a_name_is_known_by_its_addresses() -> None:
    """Also those that have not failed; another port or name is not."""
    kernel, memory = Kernel(), Memory()
    recalled = Recalled(memory, kernel.named)
    assert recalled.known(SUBJECT) is None
    for second, each in enumerate((B, C), 1):
        memory.take(each, Counters(7, 0, second * 10**9, 10**6), Moment(second, 1e9 + second))
    kernel.fail(A)
    assert recalled.known(SUBJECT) is None
    kernel.watched[NAME] = [B.address, C.address]
    known = recalled.known(SUBJECT)
    assert known is not None
    assert (known.since, known.worked) == (1e9 + 1, 1e9 + 2)
    assert recalled.known(HostPort(NAME, 443)) is None
    assert recalled.known(HostPort("other.example.com", 5432)) is None
    assert recalled.known(B) == memory.known(B)


def test_what_was_told_is_freed_when_it_is_old() -> None:
    """Names take megabytes, and most of the time nobody asks for any."""
    kernel = Kernel()
    kernel.fail(A)
    kernel.tell(B, ROOT, shared=True)
    kernel.counted = {B: Counters(7, 0, 900)}
    assert kernel.named.counts(SUBJECT) == Counters(7, 0, 900)
    kernel.named.forget()
    assert kernel.named._hearings is not None
    kernel.now += FRESH_SECONDS
    kernel.named.forget()
    assert kernel.named._hearings is None
    assert kernel.named.counts(SUBJECT) == Counters(7, 0, 900)
