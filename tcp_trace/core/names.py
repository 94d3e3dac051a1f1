"""Which name a process asked for before it connected: what may be said, and how it is written.

The kernel program notes, for each address in a DNS answer, the question's name: by the process
that was given the answer (its own), and by anybody of the network namespace (shared). A name is
said only where these rules allow it, else it is unknown:

    own      the last name that the process itself was given this address for, when it began to
             connect: asked for before that, and at most a day before
    shared   where the process did not ask for itself: the only name that anybody in its network
             namespace was given this address for, told within its TTL, or the last hour if that
             is longer, but not longer than a day

A name that was told for an address only after the attempt began is not what it was made for.
"""

from __future__ import annotations

from typing import NamedTuple

OWN_SECONDS = 86_400.0
SHARED_SECONDS = 3_600.0

_NANO = 1e-9
# 0-9, a-z, "-" and "_": all that names of hosts and services are made of.
_PLAIN = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz-_")
_LABEL_MAX = 63


class Told(NamedTuple):
    """What answers told for an address; times are nanoseconds of CLOCK_MONOTONIC.

    `name` (in wire format) was told without another one in between from `since` to `seen`, the
    last time for `ttl` seconds; `other` is when another name was last told, 0 for never.
    """

    since: int
    seen: int
    other: int
    ttl: int
    name: bytes


def choose(own: Told | None, shared: Told | None, began: float) -> str | None:
    """Return the name to say of an attempt that began at `began` (seconds, CLOCK_MONOTONIC)."""
    if own is not None and _holds(own, began, OWN_SECONDS):
        return text(own.name)
    if shared is None or not _holds(shared, began, _shared_seconds(shared)):
        return None
    if shared.other and began - shared.other * _NANO <= SHARED_SECONDS:
        return None
    return text(shared.name)


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


def _label(label: bytes) -> str:
    return "".join(chr(b) if b in _PLAIN else f"\\{b:03d}" for b in label.lower())


def _holds(told: Told, began: float, seconds: float) -> bool:
    return told.since * _NANO <= began <= told.seen * _NANO + seconds


def _shared_seconds(told: Told) -> float:
    return min(max(told.ttl, SHARED_SECONDS), OWN_SECONDS)
