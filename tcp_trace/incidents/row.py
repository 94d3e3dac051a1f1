"""Failures in a row of one subject of which nobody has heard yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.fairness import maker_of
from tcp_trace.incidents.notification import Background
from tcp_trace.incidents.streak import Streak

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.memory import Known
    from tcp_trace.incidents.subjects import AnyFailure, Counts
    from tcp_trace.incidents.tally import Tally

    Owner = tuple[str, str | int | None]

_NEVER = float("-inf")


class Row(Streak):
    """What decides whether people hear of a subject. Times are seconds of CLOCK_MONOTONIC.

    `failures` in a row were heard, without a success between them, from `first` to `last`; none
    after a success. `window` is when the failures before which `base` was counted began: those of
    rows that a success ended since are in `past`, `past_silenced` of them silenced. `thirds` is how
    many failed in each third of the time after which a share is judged; the last goes on. `counts`
    is the kernel's latest answer, of `asked`. `recent` failures as (when, how many) are kept only
    where a number within a time decides. `works` says that it was ever seen to work, and `since`
    when first (seconds since the epoch); `gap` and `share` are its usual ones. `owner` is whose the
    first failure was.
    """

    __slots__ = (
        "asked", "base", "counts", "gap", "owner", "past", "past_silenced", "recent", "share",
        "since", "thirds", "window", "works",
    )  # fmt: skip

    def __init__(self, first: float, owner: Owner = ("user", None)) -> None:
        super().__init__(first, first, 0)
        self.window = first
        self.thirds = [0, 0, 0]
        self.base: Counts | None = None
        self.counts: Counts | None = None
        self.asked = _NEVER
        self.past: Tally | None = None
        self.past_silenced = 0
        self.recent: list[tuple[float, int]] = []
        self.works = False
        self.since: float | None = None
        self.gap: float | None = None
        self.share = 0.0
        self.owner = owner

    def know(self, known: Known | None, counts: Counts | None) -> None:
        """Take in what is known of the subject from before this failure."""
        self.base = counts
        if counts is not None and counts.last_established_ns:
            self.works = True
        if known is not None:
            self.works = True
            self.since, self.gap, self.share = known.since, known.gap, known.share

    def hear(self, counts: Counts | None, now: Moment) -> None:
        """Take in what the kernel counted until now: a success ends the row."""
        self.asked, self.counts = now.mono, counts
        if self.is_broken(counts):
            self.works = True
            self.cut(counts)

    def add(self, failure: AnyFailure, within: float | None, third: float) -> None:
        """Count a failure that is heard; `within` is how long recent ones are kept, if at all."""
        self.thirds[max(0, min(2, int((failure.mono - self.window) // third)))] += failure.times
        self.extend(failure)
        if within is not None:
            kept = [each for each in self.recent if each[0] >= failure.mono - within]
            self.recent = [*kept, (failure.mono, failure.times)][-1000:]

    def dump(self) -> dict[str, Any]:
        """Return it for JSON, all but the tally; see `load`."""
        names = ("first", "last", "window", "failures", "past_silenced", "works", "since", "gap",
                 "share", "thirds")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "recent": [list(each) for each in self.recent],
            "owner": list(self.owner),
        }

    @classmethod
    def load(cls, saved: dict[str, Any], shift: float) -> Row:
        """Return the row that `dump` returned, at the present clock."""
        kind, owner = saved["owner"]
        row = cls(saved["first"] + shift, (kind, owner))
        row.last, row.window = saved["last"] + shift, saved["window"] + shift
        row.failures, row.past_silenced = int(saved["failures"]), int(saved["past_silenced"])
        row.works, row.share = bool(saved["works"]), float(saved["share"])
        row.since, row.gap = saved["since"], saved["gap"]
        row.thirds = list(saved.get("thirds", row.thirds))
        row.recent = [(when + shift, int(times)) for when, times in saved["recent"]]
        return row


def owner_of(failure: AnyFailure) -> Owner:
    """Return whose a failure is: the owner of the cgroup that it is from, else the user."""
    owner, user = maker_of(failure.process, failure.maker)
    return ("user", user) if owner is None else ("owner", owner)


def background_of(known: Known | None, counts: Counts | None, now: Moment) -> Background:
    """Return how a subject did before it failed."""
    worked, latency, share = None, None, None
    if known is not None:
        worked, latency, share = known.worked, known.latency, known.share
    if counts is not None and counts.last_established_ns:
        worked = now.wall - (now.mono - counts.last_established_ns * 1e-9)
        latency = latency or counts.latency_ns * 1e-9 or None
    return Background(worked, latency, share)
