"""The names that the kernel program learned, by its maps' descriptors.

The shapes are those of bpf/names.h. Nothing is read until a failure is told.
"""

from __future__ import annotations

import os
import pwd
import struct
from typing import TYPE_CHECKING

from tcp_trace.connects.heard import Heard, Told, choose
from tcp_trace.kernel.nameservers import NameServers
from tcp_trace.kernel.stream import lookup, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.connects.events import Failure

# struct name_key: who is_shared netns.inum netns.hash_mix address
KEY = struct.Struct("=IIII16s")
# struct name: since_ns seen_ns until_ns other_ns born_ns ttl is_sure name
NAME = struct.Struct("=5QII128s")
MARK = struct.Struct("=Q")

_MARKS_BITS = 16
_MARKS_DOUBT = 2
_HASH = 0x9E3779B97F4A7C15
_WORDS = struct.Struct("=8I")
_WORDS_WHO = 4

# Whose look-ups are others': root's, and those of the accounts of systemd-resolved, nscd and sssd.
_ROOT = 0
_DAEMONS = ("systemd-resolve", "nscd", "sssd")


class Names:
    """Looks names up. Where the kernel program does not watch answers, it knows none."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._names = fds.get("names")
        self._marks = fds.get("name_marks")
        self._servers = NameServers(fds.get("name_servers"))
        self._speakers = {_ROOT, *_uids(_DAEMONS)}

    def refresh(self) -> None:
        """Read again which name servers this host has, where that may have changed."""
        self._servers.refresh()

    def of(self, failure: Failure) -> str | None:
        """Return the name that the failed attempt was made for, None where it is not known."""
        process = failure.process
        if self._names is None or process is None:
            return None
        to = failure.destination
        began = failure.mono - (failure.elapsed or 0.0)
        own = self._heard(KEY.pack(process.pid, 0, to.netns, to.netns_mix, pack(to.address)))
        # Of other network namespaces nobody here knows the name servers.
        users = () if to.netns else {process.uid, *self._speakers}

        def shared() -> list[Heard]:
            return [self._heard(KEY.pack(uid, 1, 0, 0, pack(to.address))) for uid in users]

        return choose(own, process.born, shared, began)

    def ttl_since(self, address: str, mono: float) -> int | None:
        """Return the TTL that an answer told this process for an address since `mono` (seconds).

        None where no such answer was seen.
        """
        told = self._told(KEY.pack(os.getpid(), 0, 0, 0, pack(address)))
        return told.ttl if told is not None and told.seen >= mono * 1e9 else None

    def _heard(self, key: bytes) -> Heard:
        return Heard(self._told(key), *(self._mark(slot) for slot in slots(key)))

    def _told(self, key: bytes) -> Told | None:
        value = None if self._names is None else lookup(self._names, key, NAME.size)
        if value is None:
            return None
        since, seen, until, other, born, ttl, is_sure, name = NAME.unpack(value)
        return Told(since, seen, until, other, born, ttl, bool(is_sure), name)

    def _mark(self, slot: int) -> int:
        if self._marks is None:
            return 0
        value = lookup(self._marks, struct.pack("=I", slot), MARK.size)
        return MARK.unpack(value)[0] if value else 0


def slots(key: bytes) -> tuple[int, int]:
    """Return the slots of name_marks for a key: that of its kind, and that of its doubts."""
    words = _WORDS.unpack(key)
    who = _hash(0, words[:_WORDS_WHO])
    return _slot(words[1], _hash(who, words[_WORDS_WHO:])), _slot(_MARKS_DOUBT, who)


def _hash(value: int, words: tuple[int, ...]) -> int:
    for word in words:
        value = (value ^ word) * _HASH % 2**64
    return value


def _slot(kind: int, hashed: int) -> int:
    return (kind << _MARKS_BITS) + (hashed >> 64 - _MARKS_BITS)


def _uids(accounts: tuple[str, ...]) -> set[int]:
    """Return the ids of those accounts that this host has."""
    found = set()
    for name in accounts:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return found
