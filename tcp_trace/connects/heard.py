"""Decides which host name a process connected to, and how the name is written.

For each address in a DNS answer, the kernel program keeps the question's name: for the process that
received the answer (own), and, if the answer came from a name server of this host, for its user
(shared). A name is reported only if these rules allow it; otherwise it is unknown:

    own      the last name for which the process itself received this address before it began to
             connect, and at most a day before
    shared   if the process did not receive this address itself: the only name for which its user,
             root or a system daemon received it, within its TTL or an hour, whichever is longer,
             but at most a day

Lost knowledge ends earlier knowledge. An answer that could not be kept may have named any address,
so earlier names of its receiver are out of date. If an entry may have been evicted, the process
counts as having asked itself, and the user as having received another name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST_SECONDS = 86_400.0
"""The longest that a name counts."""

_NANO = 1e-9
# 0-9, a-z, "-" and "_": the characters of host and service names.
_PLAIN = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz-_")
_LABEL_MAX = 63
_ESCAPED = re.compile(rb"\\([0-9]{3})")


class Told(NamedTuple):
    """A name that answers gave for an address; times are nanoseconds of CLOCK_MONOTONIC.

    `name` (in wire format) was received from `since` to `seen` with no other name in between, the
    last time with a TTL of `ttl` seconds, and counts until `until`. Another name counts until
    `other`, 0 for none. The process was started at `born`. `sure` is False if the datagram may have
    come from another sender than the name server.
    """

    since: int
    seen: int
    until: int
    other: int
    born: int
    ttl: int
    sure: bool
    name: bytes


class Heard(NamedTuple):
    """Answers to a process or a user about an address; times as in `Told`, 0 for never.

    `marked` is the last time any name was received, even if `told` is None: that entry may have
    been evicted. `doubted` is the time of the last answer that could not be kept.
    """

    told: Told | None
    marked: int
    doubted: int


def choose(
    own: Heard, born: int, shared: Callable[[], Sequence[Heard]], began: float
) -> str | None:
    """Return the name to report for an attempt that began at `began` (seconds, CLOCK_MONOTONIC).

    `born` is when the process was started, in nanoseconds of that clock; `shared` returns the
    answers to users whose names may apply to the process.
    """
    if own.told is not None and own.told.born == born:
        return text(own.told.name) if _counts(own.told, own.doubted, began) else None
    if max(own.marked, own.doubted) >= born:
        return None
    return _only_name(shared(), began)


def text(wire: bytes) -> str | None:
    r"""Return a name in wire format as text, without the final dot; None if it is malformed.

    Anything but a letter, digit, "-" or "_" is written as `\DDD` in decimal (RFC 4343): the text is
    plain ASCII without spaces, whatever a server sent.
    """
    labels = []
    at = 0
    while at < len(wire) and wire[at]:
        size = wire[at]
        label = wire[at + 1 : at + 1 + size]
        if size > _LABEL_MAX or len(label) < size:
            return None
        labels.append(_label(label))
        at += 1 + size
    return ".".join(labels) or None


def wire(name: str) -> bytes:
    """Return the wire format of a name that `text` returned."""
    labels = [_ESCAPED.sub(_byte, label.encode()) for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1])])


def _label(label: bytes) -> str:
    return "".join(chr(b) if b in _PLAIN else f"\\{b:03d}" for b in label.lower())


def _only_name(heard: Sequence[Heard], began: float) -> str | None:
    """Return the one name that all these users received, None if there may be another."""
    names = set()
    for told, marked, doubted in heard:
        if told is None:
            if marked and began <= marked * _NANO + LONGEST_SECONDS:
                return None  # it was evicted, and might still count
        elif _is_of_then(told, began):
            if not _counts(told, doubted, began) or not told.sure or began <= told.other * _NANO:
                return None
            names.add(told.name)
    return text(names.pop()) if len(names) == 1 else None


def _is_of_then(told: Told, began: float) -> bool:
    return told.since * _NANO <= began <= told.until * _NANO


def _counts(told: Told, doubted: int, began: float) -> bool:
    return _is_of_then(told, began) and told.seen >= doubted
