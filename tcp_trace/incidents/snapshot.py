"""Open incidents as JSON-able values, so that they survive a restart.

CLOCK_MONOTONIC begins anew with every boot, so its times are written as they are, beside the
present of both clocks. Loading adds one `shift` to all of them: what lay between two times stays
exact, and the time the service was away is what the wall clock says, never less than nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.connects.events import Moment, Process
from tcp_trace.connects.maker import Maker
from tcp_trace.incidents.daily import Day
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.member import Member
from tcp_trace.incidents.notification import Background, Severity, State
from tcp_trace.incidents.row import Row
from tcp_trace.incidents.storm import Storm
from tcp_trace.incidents.tally import Blame, Program, Tally, group
from tcp_trace.incidents.topics import TOPICS, cause_of, subject_of

if TYPE_CHECKING:
    from tcp_trace.incidents.account import Account
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.unheard import Unheard

VERSION = 2
# All but the command, which is one process's and not told, and the owner, who ends with a boot.
_MAKER_SAVED = len(Maker._fields) - 2


def header(now: Moment) -> dict[str, Any]:
    """Return the beginning of a saved state: its version and the present."""
    return {"version": VERSION, "mono": now.mono, "wall": now.wall}


def shift(state: dict[str, Any], now: Moment) -> float:
    """Return the seconds to add to a saved time of CLOCK_MONOTONIC; ValueError for a version."""
    if state["version"] != VERSION:
        raise ValueError(f"version {state['version']} is not {VERSION}")
    away = max(0.0, now.wall - float(state["wall"]))
    return now.mono - away - float(state["mono"])


def dump_incident(incident: Incident) -> dict[str, Any]:
    """Return an incident for JSON. The kernel's counters die with the service: they stay out."""
    background = incident.background
    saved = _dump_account(incident) | {
        "subject": list(incident.subject),
        "grave": incident.grave,
        "state": incident.state.value,
        "background": None if background is None else list(background),
    }
    if not incident.heard_of:
        past = incident.row.past
        saved["row"] = incident.row.dump()
        saved["past"] = None if past is None else _dump_tally(past)
    return saved


def load_incident(saved: dict[str, Any], policy: Policy, shift: float) -> Incident:
    """Return the incident that `dump_incident` wrote."""
    tally = _load_tally(saved["tally"], shift)
    subject = subject_of(saved["subject"])
    incident = Incident(policy, tally, saved["incident"], saved["patience"], subject)
    _load_account(incident, saved, shift)
    incident.grave = bool(saved.get("grave", True))
    incident.state = State(saved.get("state", State.FAILING.value))
    background = saved.get("background")
    incident.background = None if background is None else Background(*background)
    # What an earlier version saved of what nobody heard of was silenced, and is no row.
    if "row" in saved:
        incident.row = Row.load(saved["row"], shift)
        past = saved["past"]
        incident.row.past = None if past is None else _load_tally(past, shift)
    incident.standing.shares = incident.state is State.DEGRADED
    incident.asked = not incident.heard_of
    return incident


def dump_unheard(unheard: Unheard) -> dict[str, Any]:
    """Return for JSON what is counted of that nobody has heard of, all but the suspects."""
    return {
        "silenced": unheard.silenced,
        "below": unheard.below,
        "began": unheard.suspicion.began,
        "explorers": unheard.suspicion.explorers.dump(),
        "day": None if unheard.day is None else _dump_day(unheard.day),
    }


def load_unheard(unheard: Unheard, state: dict[str, Any], shift: float) -> None:
    """Take up what `dump_unheard` returned; an earlier version saved less."""
    unheard.silenced = int(state.get("silenced", 0))
    unheard.below = int(state.get("below", 0))
    unheard.suspicion.began = state.get("began")
    unheard.suspicion.explorers.load(state.get("explorers", []), shift)
    saved = state.get("day")
    if saved is None:
        return
    day = Day(unheard.policy, _load_tally(saved["tally"], shift), saved["incident"])
    _load_account(day, saved, shift)
    day.due, day.untracked = float(saved["due"]), int(saved["untracked"])
    for subject, failures, host in saved["sites"]:
        site = subject_of(subject)
        day.sites[site] = int(failures)
        if host is not None:
            day.hosts[site] = host
    unheard.day = day


def _dump_day(day: Day) -> dict[str, Any]:
    return _dump_account(day) | {
        "due": day.due,
        "untracked": day.untracked,
        "sites": [[list(site), n, day.hosts.get(site)] for site, n in day.sites.items()],
    }


def dump_storm(storm: Storm) -> dict[str, Any]:
    """Return a storm for JSON."""
    return _dump_account(storm) | {
        "broad": storm.broad,
        "gather": storm.gather,
        "untracked": storm.untracked,
        "joined_mono": storm.joined_mono,
        "raged_mono": storm.raged_mono,
        "members": [[list(m.subject), m.failures, m.joined, m.last_mono] for m in storm.members],
        "hosts": [m.host for m in storm.members],
        "addresses": [m.address for m in storm.members],
        "grave": [m.grave for m in storm.members],
    }


def load_storm(saved: dict[str, Any], policy: Policy, shift: float) -> Storm:
    """Return the storm that `dump_storm` wrote."""
    tally = _load_tally(saved["tally"], shift)
    storm = Storm(policy, tally, saved["incident"], saved["patience"])
    _load_account(storm, saved, shift)
    storm.broad = bool(saved.get("broad", False))
    storm.gather = float(saved.get("gather", policy.storm_gather))
    storm.untracked = int(saved["untracked"])
    storm.joined_mono = saved["joined_mono"] + shift
    storm.raged_mono = saved["raged_mono"] + shift
    for subject, failures, joined, last_mono in saved["members"]:
        member = Member(storm, subject_of(subject), int(joined), last_mono + shift)
        member.failures = int(failures)
        storm.add_member(member)
    # A state saved before names were known has none.
    for member, host in zip(storm.members, saved.get("hosts", ()), strict=False):
        member.host = host
    for member, address in zip(storm.members, saved.get("addresses", ()), strict=False):
        member.address = address
    for member, grave in zip(storm.members, saved.get("grave", ()), strict=False):
        member.grave = bool(grave)
    storm.know_of(storm.tally)
    return storm


def _dump_account(account: Account) -> dict[str, Any]:
    return {
        "incident": account.incident,
        "patience": account.patience,
        "sequence": account.sequence,
        "told": account.told,
        "told_mono": account.told_mono,
        "told_wall": account.told_wall,
        "worth": account.worth,
        "updates": account.updates,
        "heard_mono": account.heard_mono,
        "reminders": account.reminders,
        "severity": account.severity.value,
        "escalated": account.escalated,
        "silenced": account.silenced,
        "silenced_told": account.silenced_told,
        "silenced_by": account.silenced_by,
        "tally": _dump_tally(account.tally),
    }


def _load_account(account: Account, saved: dict[str, Any], shift: float) -> None:
    account.sequence = int(saved["sequence"])
    account.told = int(saved["told"])
    account.told_mono = saved["told_mono"] + shift
    account.told_wall = float(saved["told_wall"])
    account.worth = bool(saved["worth"])
    account.heard_mono = saved.get("heard_mono", saved["tally"]["last_mono"]) + shift
    account.reminders = int(saved.get("reminders", 0))
    # An earlier version saved how long a storm's news wait.
    rarely = saved.get("gap", account.policy.interval) / max(1.0, account.policy.interval)
    account.updates = int(saved.get("updates", max(0, int(rarely).bit_length() - 1)))
    account.severity = Severity(saved["severity"])
    # A state saved before there were silences has none of these.
    account.escalated = bool(saved.get("escalated", account.severity is Severity.CRITICAL))
    account.silenced = int(saved.get("silenced", 0))
    account.silenced_told = int(saved.get("silenced_told", 0))
    account.silenced_by = saved.get("silenced_by")


def _dump_tally(tally: Tally) -> dict[str, Any]:
    return {
        "total": tally.total,
        "first_wall": tally.first_wall,
        "last_wall": tally.last_wall,
        "first_mono": tally.first_mono,
        "last_mono": tally.last_mono,
        "crowded": tally.crowded,
        "gap": tally.gap,
        "gaps": tally.gaps,
        "hosts": list(tally.hosts),
        "addresses": list(tally.addresses),
        "causes": [
            [cause.kind, cause.value, blame.failures, list(blame.evidence)]
            for cause, blame in tally.causes.items()
        ],
        "programs": [
            [p.comm, p.pid, p.uid, p.cgroup_id, p.several, p.failures, *p.maker[:_MAKER_SAVED]]
            for p in tally.programs.values()
        ],
    }


def _load_tally(saved: dict[str, Any], shift: float) -> Tally:
    tally = Tally(saved["first_mono"] + shift, float(saved["first_wall"]))
    tally.total = int(saved["total"])
    tally.last_wall = float(saved["last_wall"])
    tally.last_mono = saved["last_mono"] + shift
    tally.crowded = bool(saved["crowded"])
    tally.gap, tally.gaps = float(saved.get("gap", 0.0)), int(saved.get("gaps", 0))
    tally.hosts = tuple(saved.get("hosts", ()))
    tally.addresses = tuple(saved.get("addresses", ()))
    for kind, name, failures, evidence in saved["causes"]:
        blame = tally.causes[cause_of(kind, name)] = Blame(TOPICS[kind].evidence(*evidence))
        blame.failures = int(failures)
    # A state saved before makers were known ends with the failures.
    for comm, pid, uid, cgroup_id, several, failures, *known in saved["programs"]:
        process, maker = Process(pid, comm, uid, cgroup_id, 0), Maker(*known)
        program = Program(process, maker)
        program.several, program.failures = several, failures
        tally.programs[group(process, maker)] = program
    return tally
