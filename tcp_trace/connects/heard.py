"""Which name a process asked for before it connected: what may be said, and how it is written.

The kernel program notes, for each address in a DNS answer, the question's name: for the process
that was given the answer (its own), and, where the answer came from a name server of this host, for
its user (shared). A name is said only where these rules allow it, else it is unknown:

    own      the last name that the process itself was given this address for, when it began to
             connect: asked for before that, and at most a day before
    shared   where the process was not given this address itself: the only name that its user, root
             or a daemon of the system was given it for, within its TTL, or an hour if that is
             longer, but not longer than a day

What is not known any more ends what was known. An answer that could not be kept may have told any
address: what its receiver was told before is out of date. An entry may have been evicted: then the
process is taken to have asked itself, and the user to have been given another name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST_SECONDS = 86_400.0
"""For so long at most a name counts."""

_NANO = 1e-9
# 0-9, a-z, "-" and "_": all that names of hosts and services are made of.
_PLAIN = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz-_")
_LABEL_MAX = 63
_ESCAPED = re.compile(rb"\\([0-9]{3})")


class Told(NamedTuple):
    """A name that answers gave for an address; times are nanoseconds of CLOCK_MONOTONIC.

    `name` (in wire format) was told without another one in between from `since` to `seen`, the
    last time for `ttl` seconds, and counts until `until`; so long as `other` another name counts,
    0 for none. A process was started at `born`. `sure` is unset where the datagram may have come
    from somebody else than the name server.
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

    At `marked` something was told at the latest, also where `told` is None: it may have been
    evicted. At `doubted` the last answer came that could not be kept.
    """

    told: Told | None
    marked: int
    doubted: int


def choose(
    own: Heard, born: int, shared: Callable[[], Sequence[Heard]], began: float
) -> str | None:
    """Return the name to say of an attempt that began at `began` (seconds, CLOCK_MONOTONIC).

    `born` is when the process was started, in nanoseconds of that clock; `shared` returns what the
    users heard whose names may be said of it.
    """
    if own.told is not None and own.told.born == born:
        return text(own.told.name) if _counts(own.told, own.doubted, began) else None
    if max(own.marked, own.doubted) >= born:
        return None
    return _only_name(shared(), began)


def text(wire: bytes) -> str | None:
    r"""Return a name in wire format as text, without the dot at its end; None where it is none.

    What is no letter, digit, "-" or "_" is written as `\DDD` in decimal (RFC 4343), so that the
    text is plain ASCII without spaces whatever a server sent.
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
    """Return the one name that all of these users know, None where there may be another one."""
    names = set()
    for told, marked, doubted in heard:
        if told is None:
            if marked and began <= marked * _NANO + LONGEST_SECONDS:
                return None  # it was evicted, and might count
        elif _is_of_then(told, began):
            if not _counts(told, doubted, began) or not told.sure or began <= told.other * _NANO:
                return None
            names.add(told.name)
    return text(names.pop()) if len(names) == 1 else None


def _is_of_then(told: Told, began: float) -> bool:
    return told.since * _NANO <= began <= told.until * _NANO


def _counts(told: Told, doubted: int, began: float) -> bool:
    return _is_of_then(told, began) and told.seen >= doubted
