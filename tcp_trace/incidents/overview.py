"""What is open and what ended lately: one plain entry each, for people and for programs.

An entry holds nothing but what JSON has, so that those that ended are saved as they are. Names in
it are as the processes chose them: escape them where they are shown.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.incidents.subjects import placed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcp_trace.incidents.account import Account
    from tcp_trace.incidents.member import Member
    from tcp_trace.incidents.notification import ProcessCount
    from tcp_trace.incidents.storm import Storm

RECENT = 100
"""How many incidents are remembered that ended."""
_TOP = 10

OPEN, SILENCED, RECOVERED, QUIET = "open", "silenced", "recovered", "quiet"


class Entry(NamedTuple):
    """One incident or storm. Times are seconds since the epoch.

    incident       the id that its messages carry
    status         open; silenced: open, and nobody was told; recovered; quiet
    subject        what fails; None for a storm, which has `top`: [subject, failures], most frequent
                   first, each with its network namespace; all of them while it is open
    subjects       how many of each kind
    netns          the number of its network namespace, 0 for the service's own and for a storm
    addresses      of a subject that is a name: the addresses that failed, the latest last
    first, last    its first and its last failure; `ended` when it was over, None while open
    silenced       of `failures`, those that a silence kept from people
    reasons        [name, failures], most frequent first; `processes` likewise
    units          the systemd units of those processes
    messages       messages made so far; `told_at` is when the last was, None for none
    """

    incident: str
    status: str
    severity: str
    subject: str | None
    subjects: dict[str, int]
    top: list[list[str | int]]
    first: float
    last: float
    ended: float | None
    failures: int
    silenced: int
    reasons: list[list[str | int]]
    processes: list[list[str | int]]
    units: list[str]
    messages: int
    told_at: float | None
    netns: int = 0
    addresses: Sequence[str] = ()


def entries(open_now: Iterable[Incident | Member], storm: Storm | None) -> list[Entry]:
    """Return what is open: critical first, then by failures, and last what is silenced."""
    single = [_entry(account) for account in open_now if isinstance(account, Incident)]
    whole = [_entry(storm)] if storm is not None else []
    return sorted([*whole, *single], key=_rank)


def ended(account: Incident | Storm, kind: Phase, wall: float) -> Entry:
    """Return an incident that is over at this time, as people were told or not."""
    return _entry(account, _TOP)._replace(
        status=RECOVERED if kind is Phase.RESOLVED else QUIET, ended=wall
    )


def _rank(entry: Entry) -> tuple[bool, bool, int]:
    return entry.status == SILENCED, entry.severity != Severity.CRITICAL.value, -entry.failures


def _entry(account: Incident | Storm, most: int | None = None) -> Entry:
    counts = account.tally.counts()
    subject = account.subject if isinstance(account, Incident) else None
    return Entry(
        incident=account.incident,
        status=SILENCED if subject is not None and account.sequence == 0 else OPEN,
        severity=account.severity.value,
        subject=None if subject is None else str(subject),
        subjects=_kinds(account),
        top=[] if isinstance(account, Incident) else _top(account, most),
        first=counts["first"],
        last=counts["last"],
        ended=None,
        failures=account.tally.total,
        silenced=account.silenced,
        reasons=[[count.cause.value, count.failures] for count in counts["causes"]],
        processes=_by_name(counts["processes"]),
        units=list(dict.fromkeys(p.unit for p in counts["processes"] if p.unit)),
        messages=account.sequence,
        told_at=_told_at(account),
        netns=0 if subject is None else subject.netns,
        addresses=[] if subject is None else list(account.tally.addresses),
    )


def _kinds(account: Incident | Storm) -> dict[str, int]:
    sites = [account.subject] if isinstance(account, Incident) else account.sites
    return dict(Counter(each.kind for each in sites))


def _by_name(processes: Iterable[ProcessCount]) -> list[list[str | int]]:
    """Return each name once, whatever units and users it runs in, most frequent first."""
    failures: Counter[str] = Counter()
    for process in processes:
        failures[process.comm] += process.failures
    return [[name, number] for name, number in failures.most_common()]


def _told_at(account: Account) -> float | None:
    return account.told_wall if account.sequence else None


def _top(storm: Storm, most: int | None) -> list[list[str | int]]:
    by_failures = sorted(storm.members, key=attrgetter("failures"), reverse=True)
    return [[placed(member.subject), member.failures] for member in by_failures[:most]]
