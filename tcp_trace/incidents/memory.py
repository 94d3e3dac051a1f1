"""What is known of subjects that have worked: since when, until when, and how they usually do.

It outlives the process. The kernel's totals come in, of a subject at any time; what lies between
two successes that were seen is a *sample*. An average is the plain mean of the samples of the first
days, and later on forgets with time what is days old. Failures with no success between them are of
one sample, which weighs no more than an hour: an outage does not become what is usual.

What never worked is not kept, so that a scan of dead addresses takes no room. Where there are too
many, those that worked the longest ago give way; first those seen to work once only, all but a few,
so that a new one has the time to be seen again.

Everything is pure: the present is passed in.
"""

from __future__ import annotations

import json
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.incidents.topics import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.subjects import Counts, Subject

MOST = 4_096
"""So many subjects are known at most: 350 bytes each."""

VERSION = 1
_DAYS = 3 * 86_400.0
_HOUR = 3_600.0
# So many that were seen to work once only are kept beside those that give way after them.
_NEW = MOST // 8
# More than the kernel has ever counted: the next totals begin anew.
_ANEW = 1 << 64
_DAMAGED = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


class Known(NamedTuple):
    """How a subject has done until now.

    since    when it was first seen to work, in seconds since the epoch
    worked   when it was last seen to work
    share    the share of its attempts that usually fails, 0 to 1
    latency  seconds that a success usually takes, None where that is not known
    gap      seconds that usually lie between two successes, None where that is not known
    """

    since: float
    worked: float
    share: float
    latency: float | None
    gap: float | None


def together(parts: Iterable[Known | None]) -> Known | None:
    """Return what is known of something that is several subjects, as a name's addresses are.

    Share and latency are those of the one that succeeds most often.
    """
    known = [part for part in parts if part is not None]
    if not known:
        return None
    most = min(known, key=lambda each: each.gap or inf)
    often = sum(1 / each.gap for each in known if each.gap)
    since, worked = min(each.since for each in known), max(each.worked for each in known)
    return Known(since, worked, most.share, most.latency, 1 / often if often else None)


class _Entry(NamedTuple):
    """What is known of one subject, after how many samples, and the totals as of the last one."""

    known: Known
    samples: int
    established: int
    failed: int


class Memory:
    """All that is known, MOST subjects at most.

    `damaged` counts what was saved and could not be read.
    """

    def __init__(self) -> None:
        self.damaged = 0
        # Those of one sample, and of more. That seen to work the longest ago comes first.
        self._once: dict[Subject, _Entry] = {}
        self._again: dict[Subject, _Entry] = {}

    def __len__(self) -> int:
        return len(self._once) + len(self._again)

    def known(self, subject: Subject) -> Known | None:
        """Return what is known of a subject, None where it was never seen to work."""
        entry = self._entry(subject)
        return None if entry is None else entry.known

    def take(self, subject: Subject, counts: Counts, now: Moment) -> None:
        """Take in the kernel's totals of a subject, which may have begun anew meanwhile."""
        if not counts.established:
            return
        worked = now.wall - max(0.0, now.mono - counts.last_established_ns * 1e-9)
        was = self._entry(subject)
        entry = _first(counts, worked) if was is None else _next(was, counts, worked)
        if entry is not was:
            self._keep(subject, entry)

    def take_all(self, counted: Iterable[tuple[Subject, Counts]], now: Moment) -> None:
        """Take in the totals of many."""
        for subject, counts in counted:
            self.take(subject, counts, now)

    def dump(self, boot: str) -> Iterator[str]:
        """Return what must survive, as lines of JSON, each made when it is asked for.

        `boot` says which boot of this host it is: see `load`.
        """
        entries = [*self._once.items(), *self._again.items()]
        yield json.dumps({"version": VERSION, "boot": boot})
        for subject, entry in entries:
            yield json.dumps(_dumped(subject, entry), separators=(",", ":"))

    def load(self, text: str, boot: str) -> None:
        """Take up what `dump` returned; lines that are damaged are counted and left out.

        After another boot the totals begin anew, and network namespaces have other numbers.
        """
        first, *lines = text.split("\n")
        try:
            header = json.loads(first)
            version, is_same_boot = header["version"], header["boot"] == boot
        except _DAMAGED:
            version = is_same_boot = None
        if version != VERSION:
            self.damaged += 1
            return
        for line in lines[:MOST]:
            try:
                subject, entry = _loaded(json.loads(line))
            except _DAMAGED:
                self.damaged += 1
                continue
            if is_same_boot:
                self._keep(subject, entry)
            elif not subject.netns:
                self._keep(subject, entry._replace(established=_ANEW))

    def _entry(self, subject: Subject) -> _Entry | None:
        return self._again.get(subject) or self._once.get(subject)

    def _keep(self, subject: Subject, entry: _Entry) -> None:
        """Put it last; where there is one too many, forget the first."""
        for entries in (self._once, self._again):
            entries.pop(subject, None)
        (self._again if entry.samples > 1 else self._once)[subject] = entry
        if len(self) > MOST:
            entries = self._once if len(self._once) > _NEW else self._again
            del entries[next(iter(entries))]


def _first(counts: Counts, worked: float) -> _Entry:
    share = counts.failed / (counts.failed + counts.established)
    latency = counts.latency_ns * 1e-9 or None
    known = Known(worked, worked, share, latency, None)
    return _Entry(known, 1, counts.established, counts.failed)


def _next(entry: _Entry, counts: Counts, worked: float) -> _Entry:
    """Return the entry with a sample more, or as it is where nothing succeeded since the last."""
    known, samples = entry.known, entry.samples + 1
    anew = counts.established < entry.established or counts.failed < entry.failed
    established = counts.established - (0 if anew else entry.established)
    failed = counts.failed - (0 if anew else entry.failed)
    if not established:
        return entry
    passed = worked - known.worked
    weight = max(1 / samples, min(passed, _HOUR) / _DAYS)
    share, latency, gap = known.share, known.latency, known.gap
    share += (failed / (failed + established) - share) * weight
    if counts.latency_ns:
        # Of its logarithm: a SYN sent twice takes a second, a thousand times the usual.
        took = counts.latency_ns * 1e-9
        latency = took if latency is None else latency * (took / latency) ** weight
    if not anew and passed > 0:  # else some successes were not seen
        usual = passed / established
        gap = usual if gap is None else gap + (usual - gap) * weight
    # A clock that was set back leaves nothing in the future.
    known = Known(min(known.since, worked), worked, share, latency, gap)
    return _Entry(known, samples, counts.established, counts.failed)


def _dumped(subject: Subject, entry: _Entry) -> list[Any]:
    since, worked, *averages = entry.known
    rounded = [None if each is None else float(f"{each:.3g}") for each in averages]
    totals = entry.samples, entry.established, entry.failed
    return [list(subject), int(since), int(worked), *rounded, *totals]


def _loaded(saved: Any) -> tuple[Subject, _Entry]:  # noqa: ANN401 - it is to be found out
    """Return what `_dumped` was given; raises one of `_DAMAGED` for anything else."""
    fields, since, worked, share, latency, gap, *totals = saved
    subject = subject_of([_checked(each, (str, int)) for each in fields])
    known = Known(
        _amount(since),
        _amount(worked),
        _amount(share),
        None if latency is None else _amount(latency),
        None if gap is None else _amount(gap),
    )
    samples, established, failed = (int(_checked(each, (int,))) for each in totals)
    if known.share > 1 or samples < 1 or known.latency == 0 or min(established, failed) < 0:
        raise ValueError("impossible")
    return subject, _Entry(known, samples, established, failed)


def _checked(value: Any, kinds: tuple[type, ...]) -> Any:  # noqa: ANN401 - as above
    if type(value) not in kinds:
        raise TypeError(f"{type(value).__name__} is not expected")
    return value


def _amount(value: Any) -> float:  # noqa: ANN401 - as above
    number = float(_checked(value, (int, float)))
    if not isfinite(number) or number < 0:
        raise ValueError(f"{number} is no amount")
    return number
