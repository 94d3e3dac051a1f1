"""`tcp-trace incidents`: what is open and what ended lately, as the service saved it last."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tcp_trace.core.events import Moment
from tcp_trace.core.incidents import Incidents, Policy
from tcp_trace.core.overview import SILENCED, Entry
from tcp_trace.core.wording import span, utc
from tcp_trace.delivery.reading import StateError, read_state
from tcp_trace.tables import table

if TYPE_CHECKING:
    from pathlib import Path

JSON_VERSION = 1
_SHOWN_OPEN, _SHOWN_ENDED = 50, 10
_HEAD = (
    "status", "severity", "destination", "since", "for", "failures", "silenced", "reasons",
    "processes", "last message", "id",
)  # fmt: skip


def incidents(directory: Path, *, as_json: bool, everything: bool) -> str:
    """Return the incidents saved in this state directory; raises StateError."""
    state = read_state(directory / "outbox.db")
    now = Moment(time.monotonic(), time.time())
    try:
        found = Incidents.load(state, Policy(), now).overview() if state else []
    except ValueError as error:
        raise StateError(f"{directory / 'outbox.db'}: {error}") from error
    saved = None if state is None else float(state["wall"])
    if as_json:
        entries = [entry._asdict() for entry in found]
        shown = {"version": JSON_VERSION, "saved_at": saved, "incidents": entries}
        return json.dumps(shown, indent=2)
    if saved is None:
        return f"no incident: the service has saved nothing in {directory} yet"
    return "\n".join(_lines(found, saved, now.wall, everything=everything))


def _lines(found: list[Entry], saved: float, now: float, *, everything: bool) -> list[str]:
    open_now = [entry for entry in found if entry.ended is None]
    over = [entry for entry in found if entry.ended is not None]
    shown = open_now if everything else open_now[:_SHOWN_OPEN]
    recent = over if everything else over[:_SHOWN_ENDED]
    lines = [f"{_summary(open_now, over)}; saved {span(max(0.0, now - saved))} ago"]
    if shown or recent:
        lines += ["", *table(_HEAD, [_row(entry, now) for entry in [*shown, *recent]])]
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
        entry.destination or f"{entry.destinations:,} destinations",
        utc(entry.first),
        span(max(0.0, (now if entry.ended is None else entry.last) - entry.first)),
        f"{entry.failures:,}",
        f"{entry.silenced:,}" if entry.silenced else "",
        _counts(entry.reasons),
        _counts(entry.processes),
        f"{span(max(0.0, now - entry.told_at))} ago, of {entry.messages:,}"
        if entry.told_at
        else "",
        entry.incident,
    )


def _counts(counts: list[list[str | int]]) -> str:
    if len(counts) == 1:
        return str(counts[0][0])
    return ", ".join(f"{name} {number:,}" for name, number in counts)
