"""Patterns of failures: by destination, process, unit and reason, and their text form."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.watch import EVERYTHING, Rule, parse_rules
from tcp_trace.incidents.subjects import is_within
from tcp_trace.incidents.topics import cause_names
from tcp_trace.safetext import brief

if TYPE_CHECKING:
    from tcp_trace.incidents.subjects import AnyFailure

COMM_BYTES = 15
"""Bytes that the kernel keeps of a process name."""
_KEYS = ("process", "unit", "reason")
_ANY_ADDRESS = "[::]/0"


class Match(NamedTuple):
    """A pattern: a failure fits if it fits one of each kind given; an empty kind fits all.

    `reasons` are names of causes, `processes` and `units` shell patterns (`*`, `?`, `[...]`). A
    process chooses its name itself, so whoever runs processes here can take a silenced one:
    silenced failures are counted.
    """

    destinations: tuple[Rule, ...] = ()
    processes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`10.0.0.0/8 process=psql`, as `parse_match` reads it."""
        places = ",".join(map(_shown, self.destinations))
        processes = (f"process={name}" for name in self.processes)
        units = (f"unit={name}" for name in self.units)
        reasons = (f"reason={reason}" for reason in self.reasons)
        return " ".join([*([places] if places else []), *processes, *units, *reasons])

    def fits(self, failure: AnyFailure) -> bool:
        """Return whether this failure fits."""
        return (
            (not self.reasons or failure.cause.value in self.reasons)
            and (not self.destinations or is_within(failure.subject, self.destinations))
            and (not self.processes or _any_names(self.processes, _comm_of(failure)))
            and (not self.units or _any_names(self.units, failure.maker.unit))
        )


def parse_match(text: str) -> Match:
    """Parse words such as `10.0.0.0/8,[2001:db8::1]:443 process=backup* reason=timed_out`.

    A word without a `=` is a list of destinations as in `DEST_IP`, `:5432` (that port anywhere) or
    `all`. Raises ValueError with one sentence that names the word and says what to write.
    """
    given: dict[str, list[str]] = {key: [] for key in _KEYS}
    places: list[Rule] = []
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals:
            places += parse_places(word)
        elif key not in given or not value:
            allowed = " or ".join(f"{known}=..." for known in _KEYS)
            raise ValueError(f"'{brief(word)}' is not understood; write a destination, {allowed}")
        else:
            given[key].append(value)
    match = Match(
        tuple(dict.fromkeys(places)),
        tuple(parse_process(name) for name in given["process"]),
        tuple(parse_unit(name) for name in given["unit"]),
        tuple(parse_reason(name) for name in given["reason"]),
    )
    if match == Match():
        raise ValueError("nothing to silence is named; write a destination, or all")
    return match


def parse_places(text: str) -> tuple[Rule, ...]:
    """Parse a list of destinations; raises ValueError as `parse_rules` does, and for none."""
    items = [item for item in map(str.strip, text.split(",")) if item]
    if not items:
        raise ValueError(f"{text!a} names no destination; write all for every one")
    return tuple(rule for item in items for rule in _parse_place(item))


def _parse_place(item: str) -> tuple[Rule, ...]:
    if item.lower() == "all":
        return (EVERYTHING,)
    if not item.startswith(":") or item.startswith("::"):
        return parse_rules(item)
    try:
        return parse_rules(f"{_ANY_ADDRESS}{item}")
    except ValueError:
        raise ValueError(f"'{item}': the port must be a number from 1 to 65535") from None


def parse_process(text: str) -> str:
    """Return a pattern of process names; ValueError for one that the kernel can never show."""
    if len(text.encode(errors="replace")) > COMM_BYTES and not set(text) & set("*?["):
        kept = text.encode(errors="replace")[:COMM_BYTES].decode(errors="ignore")
        raise ValueError(f"'{brief(text)}': the kernel keeps 15 bytes of a name; write {kept}")
    if not text or not text.isprintable() or " " in text:
        raise ValueError(
            f"'{brief(text)}' is no process name; write ? for a space or an odd character"
        )
    return text


def parse_unit(text: str) -> str:
    """Return a pattern of unit names; ValueError for one that no unit can have."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"'{brief(text)}' is no unit; write for example nginx.service or backup@*")
    has_type = "." in text or set(text) & set("*?[")
    return text if has_type else f"{text}.service"


def parse_reason(text: str) -> str:
    """Return the name of a cause; ValueError with all names for any other."""
    known = cause_names()
    if text.lower() not in known:
        raise ValueError(f"'{brief(text)}' is no reason; write one of {', '.join(known)}")
    return text.lower()


def _shown(rule: Rule) -> str:
    """Return a rule as `parse_places` takes it."""
    return "all" if rule == EVERYTHING else str(rule).removeprefix(_ANY_ADDRESS)


def _comm_of(failure: AnyFailure) -> str | None:
    return None if failure.process is None else failure.process.comm


def _any_names(patterns: tuple[str, ...], name: str | None) -> bool:
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)
