"""What people hear, and when: the messages of a world, and all that can be asked of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.incidents.notification import Phase, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.incidents.notification import Notification
    from tests.timelines.faults import Fault

_DAY = 86_400.0
_LATELY = 61.0
_BARELY = 0.05


class Heard(NamedTuple):
    """A message, and when it came: seconds since the world began."""

    at: float
    message: Notification


class Story(NamedTuple):
    """What people heard of a fault.

    named       seconds from its first failure to the first message that is of one of its places
                alone, None for never
    listed      the same to the first that names one, be it among others
    share       the share of the attempts that failed, by the first message of its own
    programs    how many programs that names
    recovered   seconds from the end of the fault until an own message says that it is over
    """

    named: float | None = None
    listed: float | None = None
    share: float | None = None
    programs: int = 0
    recovered: float | None = None


class Observer:
    """Listens."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.heard: list[Heard] = []

    def take(self, message: Notification) -> None:
        """Hear a message now."""
        self.heard.append(Heard(self._clock(), message))

    @property
    def messages(self) -> int:
        """How many there were."""
        return len(self.heard)

    @property
    def mentions(self) -> int:
        """How many of them mention people."""
        return sum(message.escalated for _, message in self.heard)

    def busiest(self) -> int:
        """Return how many came on the day that had most."""
        days = Counter(int(at // _DAY) for at, _ in self.heard)
        return max(days.values(), default=0)

    def besides(self, *kinds: Phase) -> list[Heard]:
        """Return those that are of no such kind."""
        return [each for each in self.heard if each.message.kind not in kinds]

    def story(self, fault: Fault) -> Story:
        """Return what was heard of a fault."""
        begin = fault.failures[0] if fault.failures else fault.begin
        later = [each for each in self.heard if each.at >= begin]
        listed = next((at for at, message in later if _lists(message, fault)), None)
        own = next((each for each in later if _is_of(each.message, fault)), None)
        listed = None if listed is None else listed - begin
        if own is None:
            return Story(listed=listed)
        over = (
            at
            for at, message in later
            if message.incident == own.message.incident and message.kind is Phase.RESOLVED
        )
        ended = next(over, None)
        return Story(
            named=own.at - begin,
            listed=listed,
            share=own.message.ratio,
            programs=len(own.message.processes),
            recovered=None if ended is None else ended - max(fault.end, fault.last),
        )

    def lies(self) -> list[str]:
        """Return what is wrong with messages by themselves, whatever happened."""
        return [
            f"{at:.0f} s: {message.kind.value} {message.subject}: {lie}"
            for at, message in self.heard
            for lie in _lies(message)
        ]

    def timeline(self) -> str:
        """Return all of it, a line each, for whoever looks into a test that failed."""
        return "\n".join(_line(*each) for each in self.heard)


def _is_of(message: Notification, fault: Fault) -> bool:
    if message.kind is Phase.DAILY or message.subject is None:
        return False
    return _means(message.subject, message.addresses, fault)


def _lists(message: Notification, fault: Fault) -> bool:
    if message.kind is Phase.DAILY:
        return False
    listed = any(_means(top.subject, (), fault) for top in message.top)
    return listed or _is_of(message, fault)


def _means(subject: object, addresses: tuple[str, ...], fault: Fault) -> bool:
    return subject in fault.places or any(place.address in addresses for place in fault.places)


def _lies(message: Notification) -> list[str]:
    lies = []
    lately = message.at - message.last <= _LATELY
    if message.kind is Phase.UPDATED and not lately:
        lies.append(f"it says that it still fails, {message.at - message.last:.0f} s after")
    if message.kind is Phase.REMINDED and not message.failures:
        lies.append("it reminds of nothing new")
    if message.escalated and not lately:
        lies.append("it mentions people when it is over")
    is_critical = message.severity is Severity.CRITICAL and not message.kind.is_last
    if is_critical and message.ratio is not None and message.ratio < _BARELY:
        lies.append(f"critical at a share of {message.ratio:.4f}")
    if message.kind is Phase.RESOLVED and message.is_digest and 2 * message.working < message.size:
        lies.append(f"recovered, while {message.working} of {message.size} work")
    return lies


def _line(at: float, message: Notification) -> str:
    day, rest = divmod(at, _DAY)
    hours, seconds = divmod(rest, 3600)
    of = message.subject or f"{message.size} subjects"
    wakes = " @here" if message.escalated else ""
    share = "" if message.ratio is None else f" {message.ratio:.1%}"
    return (
        f"day {day:.0f} {hours:02.0f}:{seconds // 60:02.0f}:{seconds % 60:04.1f}"
        f" {message.kind.value:8} {message.severity.value:8} {message.state.value:8} {of}:"
        f" {message.failures}/{message.total}{share}, {len(message.processes)} programs{wakes}"
    )
