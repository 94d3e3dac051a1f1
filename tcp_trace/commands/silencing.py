"""`tcp-trace silence`: add, list and remove silences."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tcp_trace.host import unprivileged
from tcp_trace.log import output
from tcp_trace.notify.reading import StateError, read_state
from tcp_trace.notify.store import NAME
from tcp_trace.notify.wording import failures, span, utc
from tcp_trace.safetext import plain, printable
from tcp_trace.settings.values import duration
from tcp_trace.silences import silencefile
from tcp_trace.silences.match import (
    Match,
    parse_identifier,
    parse_places,
    parse_process,
    parse_reason,
    parse_unit,
)
from tcp_trace.silences.silences import Silence
from tcp_trace.views.tables import details, table, wrapped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from pathlib import Path

    from tcp_trace.settings.config import Settings
    from tcp_trace.silences.maintenance import Window
    from tcp_trace.silences.silencefile import Unread

LONGEST_SECONDS = 30 * 86_400.0
"""How long a silence lasts at most that holds until its incident is over."""

_COMMENT_LIMIT = 200

Counts = dict[str, int] | None


def add(settings: Settings, args: Namespace) -> str:
    """Add the silence of the arguments; return a sentence for people.

    Raises ValueError for arguments that make no silence, Refused for disk errors.
    """
    match = _match(args)
    if args.until_recovered:
        _check_is_single(match)
        seconds = LONGEST_SECONDS
    else:
        seconds = _seconds(args.seconds)
    if len(args.comment) > _COMMENT_LIMIT:
        raise ValueError(f"the comment is longer than {_COMMENT_LIMIT} characters")
    now = time.time()
    ends = now + seconds
    directory = settings.state_dir
    wanted = Silence("", match, now, ends, args.comment, args.until_recovered)
    name = _in_state(directory, lambda: silencefile.add(directory, wanted).id)
    if args.until_recovered:
        return f"{name}: silenced until its incident is over, for {span(seconds)} at most: {match}"
    return f"{name}: silenced until {utc(ends)} ({span(seconds)}): {match}"


def _seconds(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f"--for {printable(text)}: {error}") from None


def _check_is_single(match: Match) -> None:
    """Raise ValueError unless a match means one destination and nothing else."""
    alone = match == Match(match.destinations) and len(match.destinations) == 1
    if not alone or not match.destinations[0].is_single:
        raise ValueError(
            "--until-recovered takes one destination with its port and nothing else, for example"
            " db.example.com:5432"
        )


def remove(settings: Settings, args: Namespace) -> str:
    """Remove a silence; return a sentence for people."""
    directory, now = settings.state_dir, time.time()
    removed = _in_state(directory, lambda: silencefile.remove(directory, args.id, now))
    return f"{args.id}: no longer silenced: {removed}"


def listing(settings: Settings, args: Namespace) -> str:
    """Return the silences in force (with `--all`, also ended ones) and all windows."""
    now = time.time()
    args.columns = output.columns()  # the child has no terminal

    def read() -> str:
        contents = silencefile.read(settings.state_dir / silencefile.NAME)
        return _listing(settings, args, contents, _counts(settings), now)

    try:
        return _in_state(settings.state_dir, read)
    except unprivileged.NoDirectory:
        return _listing(settings, args, silencefile.Contents(), {}, now)


def _in_state(directory: Path, function: Callable[[], str]) -> str:
    """Call a function as the owner of the state directory."""
    owner = unprivileged.owner_of(directory, NAME)
    return str(unprivileged.call(owner, f"looking into {directory}", function))


def _listing(
    settings: Settings,
    args: Namespace,
    contents: silencefile.Contents,
    counts: Counts,
    now: float,
) -> str:
    silences, unread = contents
    shown = [each for each in silences if args.all or each.ends > now]
    windows = settings.maintenance or ()
    if args.json:
        return output.as_json(_as_json(shown, unread, windows, counts, now))
    return "\n".join(
        [
            *_silence_lines(shown, counts, now, args.columns),
            *_unread_lines(unread, args.columns),
            *_window_lines(windows, counts, now, args.columns),
        ]
    )


def _counts(settings: Settings) -> Counts:
    """Return the number of failures each has silenced, None if the caller may not read it."""
    try:
        state = read_state(settings.state_dir / NAME) or {}
    except StateError:
        return None
    counts = state.get("silenced_by", {})
    if not isinstance(counts, dict):
        return None
    return {name: n for name, n in counts.items() if isinstance(n, int)}


def _count(counts: Counts, name: str) -> int | None:
    return None if counts is None else counts.get(name, 0)


def _match(args: Namespace) -> Match:
    places = [rule for text in args.destinations for rule in parse_places(text)]
    match = Match(
        tuple(dict.fromkeys(places)),
        tuple(map(parse_process, args.process)),
        tuple(map(parse_unit, args.unit)),
        tuple(map(parse_reason, args.reason)),
        tuple(parse_identifier(text, "pod") for text in args.pod),
        tuple(parse_identifier(text, "container") for text in args.container),
    )
    if match == Match():
        raise ValueError(
            "name what to silence: a destination, --process, --unit, --pod, --container, --reason,"
            " or all"
        )
    return match


def _silence_lines(silences: list[Silence], counts: Counts, now: float, columns: int) -> list[str]:
    if not silences:
        return ["no silences"]
    ordered = sorted(silences, key=lambda each: each.ends)
    rows = [
        (
            each.id,
            "recovered" if each.until_recovered and each.ends > now else utc(each.ends),
            _left(each, now),
            "" if counts is None else f"{counts.get(each.id, 0):,}",
        )
        for each in ordered
    ]
    lines = table(("id", "until", "left", "silenced"), rows)
    for each, row in zip(ordered, lines[1:], strict=True):
        lines += [
            row,
            *details(columns, ("what", plain(str(each.match))), ("note", plain(each.comment))),
        ]
    return [lines[0], *lines[len(rows) + 1 :]]


def _left(silence: Silence, now: float) -> str:
    if silence.ends <= now:
        return "ended"
    left = span(silence.ends - now)
    return f"at most {left}" if silence.until_recovered else left


def _unread_lines(unread: tuple[Unread, ...], columns: int) -> list[str]:
    """Return lines about unreadable entries, and how to remove them."""
    if not unread:
        return []
    how = "'tcp-trace silence remove ID' removes one"
    lines = ["", f"{len(unread):,} cannot be read ({how}):"]
    return [*lines, *(line for each in unread for line in wrapped(str(each), columns))]


def _window_lines(
    windows: tuple[Window, ...], counts: Counts, now: float, columns: int
) -> list[str]:
    if not windows:
        return []
    lines = ["", "maintenance windows (MAINTENANCE):"]
    for each in windows:
        holds = "in force" if each.in_force(now) else "not in force"
        count = "" if counts is None else f", {failures(counts.get(each.id, 0))} silenced"
        lines += wrapped(f"{plain(each.id)}: {holds}{count}", columns)
    return lines


def _as_json(
    silences: list[Silence],
    unread: tuple[Unread, ...],
    windows: tuple[Window, ...],
    counts: Counts,
    now: float,
) -> dict[str, Any]:
    return {
        "silences": [
            {
                **each.to_dict(),
                "in_force": each.in_force(now),
                "silenced": _count(counts, each.id),
            }
            for each in silences
        ],
        "unreadable": [{"entry": each.entry, "why": each.why} for each in unread],
        "maintenance": [
            {
                "window": each.id,
                "match": str(each.match),
                "in_force": each.in_force(now),
                "silenced": _count(counts, each.id),
            }
            for each in windows
        ],
    }


ACTIONS: dict[str, Callable[[Settings, Namespace], str]] = {
    "add": add,
    "list": listing,
    "remove": remove,
}
