"""One subject of a storm: what of it is counted by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tcp_trace.incidents.fairness import maker_of, makers_of
from tcp_trace.incidents.standing import Standing
from tcp_trace.incidents.subjects import address_of, is_name

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.fairness import Whose
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Counts, Subject
    from tcp_trace.incidents.tally import Tally

_MAKERS_KEPT = 3


class Whole(Protocol):
    """What a subject needs of the storm that it is in."""

    policy: Policy
    sequence: int
    tally: Tally

    def meet(self, maker: Whose, *, joins: bool) -> bool:
        """Note whose a failure is; return whether the next message is due the sooner for it."""

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether `wake` may have to be earlier."""

    def add_silenced(self, failure: AnyFailure, silence: str) -> None:
        """Count a failure that is no cause for a message."""


class Member:
    """One subject of a storm.

    `joined` is how many digests were told before it was news, `last_mono` its last failure that
    is of an outage and `ever_mono` its last one at all, in seconds of CLOCK_MONOTONIC. `host`
    is the name by which it was last asked for, and of a subject that is a name `address` the one
    that failed last, each None where not known. `grave` says that it worked before, or that people
    asked for it. Of its `makers` some are kept.
    """

    __slots__ = (
        "address", "ever_mono", "failures", "grave", "host", "joined", "last_mono", "makers",
        "standing", "storm", "subject",
    )  # fmt: skip

    def __init__(self, storm: Whole, subject: Subject, joined: int, last_mono: float) -> None:
        self.storm = storm
        self.subject = subject
        self.failures = 0
        self.joined = joined
        self.last_mono = self.ever_mono = last_mono
        self.standing = Standing(last_mono, last_mono, shares=False)
        self.host: str | None = None
        self.address: str | None = None
        self.grave = True
        self.makers: tuple[Whose, ...] = ()

    def hear(self, counts: Counts | None, now: Moment) -> None:
        """Take in what the kernel counted until now."""
        self.standing.hear(counts, self.storm.policy, now)

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether the storm's `wake` may have to be earlier."""
        self._count(failure)
        if not self.standing.add(failure, self.storm.policy):
            self.storm.tally.add(failure)
            return False
        self.last_mono = max(self.last_mono, failure.mono)
        maker = maker_of(failure.process, failure.maker)
        is_met = self.storm.meet(maker, joins=False)
        if is_met:  # so that it is named, whoever failed there before
            self.joined = self.storm.sequence
            self.makers = (maker, *self.makers)[:_MAKERS_KEPT]
        return self.storm.add(failure) or is_met

    def add_silenced(self, failure: AnyFailure, silence: str) -> None:
        """Count a failure that is no cause for a message, because of this silence."""
        self._count(failure)
        self.storm.add_silenced(failure, silence)

    def _count(self, failure: AnyFailure) -> None:
        self.failures += failure.times
        self.ever_mono = max(self.ever_mono, failure.mono)
        self._note(maker_of(failure.process, failure.maker))
        if failure.host is not None:
            self.host = failure.host
            self.address = address_of(failure.place) if is_name(self.subject) else None

    def _note(self, maker: Whose) -> None:
        if maker not in self.makers and len(self.makers) < _MAKERS_KEPT:
            self.makers += (maker,)

    def add_makers(self, tally: Tally) -> None:
        """Take in whose failures were counted."""
        for maker in makers_of(tally):
            self._note(maker)
