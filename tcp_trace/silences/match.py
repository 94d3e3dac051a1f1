"""Patterns of failures: by destination, process, unit and reason, and their text form."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.watch import EVERYTHING, Name, Rule, parse_meant
from tcp_trace.incidents.subjects import endpoints, is_within
from tcp_trace.incidents.topics import cause_names
from tcp_trace.safetext import brief

if TYPE_CHECKING:
    from tcp_trace.incidents.subjects import AnyFailure

COMM_BYTES = 15
"""Bytes that the kernel keeps of a process name."""
SHORT_ID = 12
"""Characters of a container's id that messages show, as docker, podman and crictl do."""
_KEYS = ("process", "unit", "pod", "container", "reason")
_ANY_ADDRESS = "[::]/0"


class Match(NamedTuple):
    """A pattern: a failure fits if it fits one of each kind given; an empty kind fits all.

    `destinations` are networks, and patterns of the names that are asked for; `reasons` names of
    causes; the others shell patterns (`*`, `?`, `[...]`). A process chooses its name itself, and
    the name that it asks for, so whoever runs processes here can take a silenced one: silenced
    failures are counted.
    """

    destinations: tuple[Rule | Name, ...] = ()
    processes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`10.0.0.0/8 process=psql`, as `parse_match` reads it."""
        places = ",".join(map(_shown, self.destinations))
        processes = (f"process={name}" for name in self.processes)
        units = (f"unit={name}" for name in self.units)
        pods = (f"pod={name}" for name in self.pods)
        containers = (f"container={name}" for name in self.containers)
        reasons = (f"reason={reason}" for reason in self.reasons)
        given = [*processes, *units, *pods, *containers, *reasons]
        return " ".join([*([places] if places else []), *given])

    def fits(self, failure: AnyFailure) -> bool:
        """Return whether this failure fits."""
        return (
            (not self.reasons or failure.cause.value in self.reasons)
            and (not self.destinations or _is_within(failure, self.destinations))
            and (not self.processes or any_names(self.processes, _comm_of(failure)))
            and (not self.units or any_names(self.units, failure.maker.unit))
            and (not self.pods or any_names(self.pods, failure.maker.pod))
            and (not self.containers or any_contains(self.containers, failure.maker.container))
        )


def parse_match(text: str) -> Match:
    """Parse words such as `10.0.0.0/8,*.example.com:443 process=backup* reason=timed_out`.

    A word without a `=` is a list of destinations (see `parse_meant`), `:5432` (that port anywhere)
    or `all`. Raises ValueError with one sentence that names the word and says what to write.
    """
    given: dict[str, list[str]] = {key: [] for key in _KEYS}
    places: list[Rule | Name] = []
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals:
            places += parse_places(word)
        elif key not in given or not value:
            *others, last = (f"{known}=..." for known in _KEYS)
            allowed = f"{', '.join(others)} or {last}"
            raise ValueError(f"'{brief(word)}' is not understood; write a destination, {allowed}")
        else:
            given[key].append(value)
    match = Match(
        tuple(dict.fromkeys(places)),
        tuple(parse_process(name) for name in given["process"]),
        tuple(parse_unit(name) for name in given["unit"]),
        tuple(parse_reason(name) for name in given["reason"]),
        tuple(parse_identifier(name, "pod") for name in given["pod"]),
        tuple(parse_identifier(name, "container") for name in given["container"]),
    )
    if match == Match():
        raise ValueError("nothing to silence is named; write a destination, or all")
    return match


def parse_places(text: str) -> tuple[Rule | Name, ...]:
    """Parse a list of destinations; raises ValueError as `parse_meant` does, and for none."""
    items = [item for item in map(str.strip, text.split(",")) if item]
    if not items:
        raise ValueError(f"{text!a} names no destination; write all for every one")
    return tuple(rule for item in items for rule in _parse_place(item))


def _parse_place(item: str) -> tuple[Rule | Name, ...]:
    if item.lower() == "all":
        return (EVERYTHING,)
    if not item.startswith(":") or item.startswith("::"):
        return parse_meant(item)
    try:
        return parse_meant(f"{_ANY_ADDRESS}{item}")
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


def parse_identifier(text: str, what: str) -> str:
    """Return a pattern of ids of pods or containers; ValueError for one that none can have."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"'{brief(text)}' is no {what}; write its id as messages show it, or 3f2a*"
        )
    return text


def parse_reason(text: str) -> str:
    """Return the name of a cause; ValueError with all names for any other."""
    known = cause_names()
    if text.lower() not in known:
        raise ValueError(f"'{brief(text)}' is no reason; write one of {', '.join(known)}")
    return text.lower()


def any_contains(patterns: tuple[str, ...], container: str | None) -> bool:
    """Return whether a pattern fits a container: with its runtime, its id, or how that begins."""
    if container is None:
        return False
    names = (container, (name := container.rpartition("://")[2]), name[:SHORT_ID])
    return any(fnmatchcase(each, pattern) for each in names for pattern in patterns)


def _shown(rule: Rule | Name) -> str:
    """Return a rule as `parse_places` takes it."""
    return "all" if rule == EVERYTHING else str(rule).removeprefix(_ANY_ADDRESS)


def _is_within(failure: AnyFailure, rules: tuple[Rule | Name, ...]) -> bool:
    hosts = () if failure.host is None else (failure.host,)
    meant = [failure.subject.endpoint, *endpoints(failure.place, hosts=hosts)]
    return is_within(meant, rules)


def _comm_of(failure: AnyFailure) -> str | None:
    return None if failure.process is None else failure.process.comm


def any_names(patterns: tuple[str, ...], name: str | None) -> bool:
    """Return whether one of the patterns fits a name."""
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)
