"""What happened, counted in bounded memory and without making an object per failure."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.notification import CauseCount, ProcessCount
from tcp_trace.incidents.subjects import address_of, is_name

if TYPE_CHECKING:
    from tcp_trace.connects.events import Process
    from tcp_trace.connects.maker import Maker
    from tcp_trace.incidents.subjects import AnyFailure, Cause, Evidence, Subject

KEPT_PROGRAMS = 16
TOLD_HOSTS = 3
TOLD_ADDRESSES = 8


class Program:
    """Failures of one program: all processes of one name and user in one unit and container.

    Not of one pid: a job that is started anew for every attempt is one program to people. Nor of
    one cgroup, where it can be helped: a unit that is restarted gets another.
    """

    __slots__ = ("cgroup_id", "comm", "failures", "maker", "pid", "several", "uid")

    def __init__(self, process: Process, maker: Maker) -> None:
        self.comm, self.uid, self.cgroup_id = process.comm, process.uid, process.cgroup_id
        self.pid = process.pid
        self.maker = maker
        self.several = False
        self.failures = 0

    def add(self, pid: int, times: int) -> None:
        """Count failures of the process `pid`."""
        self.failures += times
        if pid != self.pid:
            self.several = True
            self.pid = pid


def group(process: Process, maker: Maker) -> tuple[str | int | None, ...]:
    """Return what the failures of one program have in common."""
    if maker.unit is None and maker.container is None:
        return process.comm, process.uid, process.cgroup_id
    return process.comm, process.uid, maker.unit, maker.container


class Blame:
    """Failures of one cause, with the evidence of the latest."""

    __slots__ = ("evidence", "failures")

    def __init__(self, evidence: Evidence) -> None:
        self.failures = 0
        self.evidence = evidence


def _latest(known: tuple[str, ...], text: str, most: int) -> tuple[str, ...]:
    """Return the texts with this one at the end, as many of the latest as are kept."""
    if known and known[-1] == text:
        return known
    return (*(other for other in known if other != text), text)[-most:]


class Tally:
    """Counts of failures by cause and program, with the first and the last on both clocks.

    At most KEPT_PROGRAMS programs are told apart. A further one takes the place of the one with
    the fewest failures, which stay in `total`: a program that fails often is kept even when it
    comes late, and counts shown are never too high.
    """

    __slots__ = (
        "addresses", "causes", "crowded", "first_mono", "first_wall", "gap", "gaps", "hosts",
        "last_mono", "last_wall", "programs", "total",
    )  # fmt: skip

    def __init__(self, first_mono: float, first_wall: float) -> None:
        self.total = 0
        self.first_mono = self.last_mono = first_mono
        self.first_wall = self.last_wall = first_wall
        self.causes: dict[Cause, Blame] = {}
        self.programs: dict[tuple[str | int | None, ...], Program] = {}
        self.crowded = False
        self.hosts: tuple[str, ...] = ()
        self.addresses: tuple[str, ...] = ()
        self.gap, self.gaps = 0.0, 0

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether its cause or its program is new."""
        if self.total and failure.mono > self.last_mono:
            self._space(failure.mono - self.last_mono)
        self.total += failure.times
        if failure.mono > self.last_mono:  # one that was held back comes late
            self.last_mono = failure.mono
            self.last_wall = failure.wall
        blame = self.causes.get(failure.cause)
        is_new = blame is None
        if blame is None:
            blame = self.causes[failure.cause] = Blame(failure.evidence)
        blame.failures += failure.times
        blame.evidence = failure.evidence
        if failure.host is not None:
            self._locate(failure.host, failure.subject, failure.place)
        process = failure.process
        if process is None:
            return is_new
        key = group(process, failure.maker)
        program = self.programs.get(key)
        if program is None:
            self._make_place()
            program = self.programs[key] = Program(process, failure.maker)
            is_new = is_new or not self.crowded
        program.add(process.pid, failure.times)
        return is_new

    @property
    def usual_gap(self) -> float:
        """Seconds that usually lie between two bursts of failures, 0 where that is not known."""
        return self.gap if self.gaps > 1 else 0.0

    def _space(self, seconds: float) -> None:
        """Take in a time between two failures: the longest, forgotten by an eighth each time."""
        self.gaps += 1
        self.gap = max(seconds, self.gap + (seconds - self.gap) / 8)

    def _locate(self, host: str, subject: Subject, place: Subject) -> None:
        """Remember the name that was asked for, and of a subject that is one what failed."""
        self.hosts = _latest(self.hosts, host, TOLD_HOSTS)
        address = address_of(place) if is_name(subject) else None
        if address is not None:
            self.addresses = _latest(self.addresses, address, TOLD_ADDRESSES)

    def _make_place(self) -> None:
        if len(self.programs) >= KEPT_PROGRAMS:
            self.crowded = True
            rarest = min(self.programs, key=lambda key: self.programs[key].failures)
            del self.programs[rarest]

    def absorb(self, other: Tally) -> None:
        """Count what `other` counted, too; its programs are taken over."""
        self.total += other.total
        self.first_wall = min(self.first_wall, other.first_wall)
        self.last_wall = max(self.last_wall, other.last_wall)
        self.first_mono = min(self.first_mono, other.first_mono)
        self.last_mono = max(self.last_mono, other.last_mono)
        for cause, blame in other.causes.items():
            mine = self.causes.setdefault(cause, Blame(blame.evidence))
            mine.failures += blame.failures
            mine.evidence = blame.evidence
        for key, program in other.programs.items():
            known = self.programs.get(key)
            if known is not None:
                known.failures += program.failures
                known.several = known.several or program.several or known.pid != program.pid
            elif len(self.programs) < KEPT_PROGRAMS:
                self.programs[key] = program
            else:
                self.crowded = True

    def counts(self) -> dict[str, Any]:
        """Return the part of a Notification that is known here, by the names of its fields."""
        programs = sorted(self.programs.values(), key=attrgetter("failures"), reverse=True)
        processes = tuple(
            ProcessCount(
                p.comm, p.pid, p.uid, p.cgroup_id, p.several, p.failures,
                p.maker.user, p.maker.unit, p.maker.container, p.maker.pod,
            )
            for p in programs
        )  # fmt: skip
        causes = sorted(self.causes.items(), key=lambda item: item[1].failures, reverse=True)
        return {
            "total": self.total,
            "first": self.first_wall,
            "last": max(self.first_wall, self.last_wall),
            "duration": max(0.0, self.last_mono - self.first_mono),
            "causes": tuple(CauseCount(cause, b.failures, b.evidence) for cause, b in causes),
            "processes": processes,
            "unlisted": self.total - sum(p.failures for p in processes),
        }
