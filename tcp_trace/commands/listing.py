"""`tcp-trace incidents`: open and recent incidents, from the state that the service saved last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.connects.events import Destination, Moment
from tcp_trace.host import unprivileged
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.overview import SILENCED, Entry
from tcp_trace.incidents.policy import Policy
from tcp_trace.log import output
from tcp_trace.notify.reading import StateError, read_state
from tcp_trace.notify.store import NAME
from tcp_trace.notify.wording import many, span, utc
from tcp_trace.safetext import plain
from tcp_trace.views.tables import details, table

if TYPE_CHECKING:
    from pathlib import Path

JSON_VERSION = 1
_SHOWN_OPEN, _SHOWN_ENDED, _SHOWN_PLACES = 50, 10, 10
_HEAD = ("status", "severity", "failures", "since", "for", "what fails")


class Wanted(NamedTuple):
    """The form of the output: JSON, or lines of at most `columns`; all incidents, or the worst."""

    as_json: bool
    everything: bool
    columns: int


def incidents(directory: Path, wanted: Wanted) -> str:
    """Return the incidents saved in this state directory. Raises Refused."""
    now = Moment(time.monotonic(), time.time())
    try:
        owner = unprivileged.owner_of(directory, NAME)
    except unprivileged.NoDirectory:
        return _shown(directory, [], None, now.wall, wanted)
    return str(
        unprivileged.call(owner, f"reading {directory}", lambda: _read(directory, now, wanted))
    )


def _read(directory: Path, now: Moment, wanted: Wanted) -> str:
    state = read_state(directory / NAME)
    try:
        found = Incidents.load(state, Policy(), now).overview() if state else []
        saved = None if state is None else float(state["wall"])
        return _shown(directory, found, saved, now.wall, wanted)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StateError(f"{directory / NAME}: the saved state is damaged ({error})") from error


def _shown(
    directory: Path, found: list[Entry], saved: float | None, now: float, wanted: Wanted
) -> str:
    if wanted.as_json:
        entries = [_as_json(entry) for entry in found]
        return output.as_json({"version": JSON_VERSION, "saved_at": saved, "incidents": entries})
    if saved is None:
        return f"no incident: the service has saved nothing in {directory} yet"
    return "\n".join(_lines(found, saved, now, wanted))


def _as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry, with the fields of earlier versions, in which only connects could fail."""
    return {
        **entry._asdict(),
        "destination": _destination(entry),
        "destinations": sum(entry.subjects.values()),
    }


def _destination(entry: Entry) -> str | None:
    """Return the address and port that fail, of a name those that failed last."""
    if entry.subject is not None and entry.addresses:
        port = entry.subject.rpartition(":")[2]
        return str(Destination(entry.addresses[-1], int(port)))
    return entry.subject if "destination" in entry.subjects else None


def _lines(found: list[Entry], saved: float, now: float, wanted: Wanted) -> list[str]:
    open_now = [entry for entry in found if entry.ended is None]
    over = [entry for entry in found if entry.ended is not None]
    shown = open_now if wanted.everything else open_now[:_SHOWN_OPEN]
    recent = over if wanted.everything else over[:_SHOWN_ENDED]
    lines = [f"{_summary(open_now, over)}; saved {span(max(0.0, now - saved))} ago"]
    if shown or recent:
        head, *rows = table(_HEAD, [_row(entry, now) for entry in [*shown, *recent]])
        lines += ["", head]
        for entry, row in zip([*shown, *recent], rows, strict=True):
            lines += [row, *_details(entry, now, wanted)]
    hidden = len(found) - len(shown) - len(recent)
    return [*lines, *([f"and {hidden:,} more: --all"] if hidden else [])]


def _summary(open_now: list[Entry], over: list[Entry]) -> str:
    silenced = sum(entry.status == SILENCED for entry in open_now)
    critical = sum(entry.severity == "critical" for entry in open_now if entry.status != SILENCED)
    told = f"{len(open_now) - silenced:,} open ({critical:,} critical)"
    return f"{told}, {silenced:,} silenced, {len(over):,} ended lately"


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    return (
        entry.status,
        entry.severity,
        f"{entry.failures:,}",
        utc(entry.first).removesuffix(" UTC"),
        span(max(0.0, (now if entry.ended is None else entry.last) - entry.first)),
        _subject(entry),
    )


def _subject(entry: Entry) -> str:
    if entry.subject is None:
        return many(entry.subjects)
    return f"{entry.subject} (netns {entry.netns})" if entry.netns else entry.subject


def _details(entry: Entry, now: float, wanted: Wanted) -> list[str]:
    """Return the lines below a row: reasons, makers, places, and messages sent."""
    return details(
        wanted.columns,
        ("why", _counts(entry.reasons)),
        ("by", _counts(entry.processes)),
        ("unit", ", ".join(map(plain, entry.units))),
        ("at", ", ".join(reversed(entry.addresses))),
        ("to", _places(entry, None if wanted.everything else _SHOWN_PLACES)),
        ("sent", _told(entry, now)),
    )


def _places(entry: Entry, most: int | None) -> str:
    """Return the named subjects of a digest, and the number of the others."""
    named = entry.top[:most]
    # An address in several network namespaces is one destination, but named once for each.
    rest = max(sum(entry.subjects.values()), len(entry.top)) - len(named)
    return _counts(named) + (f", and {rest:,} more" if named and rest > 0 else "")


def _told(entry: Entry, now: float) -> str:
    told = [f"{entry.silenced:,} silenced"] if entry.silenced else []
    if entry.told_at:
        times = "1 message" if entry.messages == 1 else f"{entry.messages:,} messages"
        told.insert(0, f"{times}, the last {span(max(0.0, now - entry.told_at))} ago")
    return "; ".join([*told, f"id {plain(entry.incident)}"])


def _counts(counts: list[list[str | int]]) -> str:
    """Return `refused 12, timed_out 3`; a single name without its number, `?` for a blank one."""
    named = [(plain(str(name).strip()) or "?", number) for name, number in counts]
    if len(named) == 1:
        return named[0][0]
    return ", ".join(f"{name} {number:,}" for name, number in named)
