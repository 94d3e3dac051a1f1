"""The probe `names`: host names, from the DNS answers that processes receive.

Names stay in the kernel's maps. A map is read only when a failure is reported.
"""

from __future__ import annotations

import logging
import os
import pwd
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tcp_trace.connects.heard import Heard, Told, choose, wire
from tcp_trace.kernel.contract import Attach, Kind, Point, Without
from tcp_trace.kernel.maps import items, lookup
from tcp_trace.kernel.shapes import Shape
from tcp_trace.probes.addresses import address_of, pack
from tcp_trace.probes.nameservers import NameServers
from tcp_trace.probes.shapes import (
    LONG,
    NAME,
    NAME_BYTES,
    NAME_HASH,
    NAME_KEY,
    NAME_MARKS,
    NAME_MARKS_DOUBT,
    NUMBER,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.connects.events import Failure
    from tcp_trace.settings.config import Settings

log = logging.getLogger(__name__)

# Addresses with the name that was asked: 240 bytes each.
NAMES_MAX = 8_192

_WORDS = Shape("words of struct name_key", words="8I")
_WORDS_WHO = 4

# Users that look names up for others: root, and the accounts of systemd-resolved, nscd and sssd.
_ROOT = 0
_DAEMONS = ("systemd-resolve", "nscd", "sssd")


class NamesProbe:
    """The probe; see the module. Its results are in maps: it submits no records."""

    name = "names"
    source = "names.c"

    def is_wanted(self, settings: Settings, /) -> bool:
        """Return whether DNS_NAMES is set."""
        return settings.dns_names

    def maps(self, _: Settings, /) -> tuple[str, ...]:
        """Return the maps of names, of marks and doubts, and of name servers."""
        return "names", "name_marks", "name_servers"

    def constants(self, _: Settings, /) -> Mapping[str, int | str]:
        """Return the number of names to keep."""
        return {"NAMES_MAX": NAMES_MAX}

    def points(self, _: Settings, /) -> tuple[Point, ...]:
        """Return the point: data was received."""
        return (_ANSWERS,)

    def decode(self, record: bytes, /) -> NoReturn:
        """Raise ValueError: it has no records."""
        raise ValueError(record)

    def counts(self, _: Mapping[str, int], __: Settings, /) -> tuple[()]:
        """Return nothing: the tallies have them."""
        return ()


_ANSWERS = Point(
    "names",
    (
        (
            Attach(Kind.FEXIT, "inet_recvmsg", "inet_recvmsg"),
            Attach(Kind.FEXIT, "inet6_recvmsg", "inet_recvmsg"),
        ),
    ),
    "recvmsg()",
    lost="host names are unknown",
    without=Without.NO_PROBE,
    note="no_names",
)

NAMES = NamesProbe()


class Hearing(NamedTuple):
    """An address that an answer gave for a name: to the process `who`, or to that user.

    What a user heard counts for others where it `is_shared`. The network namespace is 0 for the
    service's own.
    """

    address: str
    who: int
    is_shared: bool
    netns: int
    netns_mix: int


class Hearings:
    """What was told when it was read, by name."""

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._keys: dict[bytes, list[bytes]] = {}
        self._entries = entries
        for key, value in entries.items():
            self._keys.setdefault(value[-NAME_BYTES:], []).append(key)

    def of(self, name: str, now: float) -> list[Hearing]:
        """Return who was told which addresses for a name, the last told first.

        Of them what counts at `now` (seconds of CLOCK_MONOTONIC), for others only where it came
        from a name server for sure.
        """
        found: list[tuple[int, Hearing]] = []
        for key in self._keys.get(wire(name).ljust(NAME_BYTES, b"\0"), ()):
            _, seen, until, _, _, _, is_sure, _ = NAME.unpack(self._entries[key])
            who, is_shared, netns, mix, address = NAME_KEY.unpack(key)
            if until >= now * 1e9 and (is_sure or not is_shared):
                found.append((seen, Hearing(address_of(address), who, bool(is_shared), netns, mix)))
        return [heard for _, heard in sorted(found, reverse=True)]


class Names:
    """Looks names up. It finds none if the kernel program does not watch answers."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._names = fds.get("names")
        self._marks = fds.get("name_marks")
        self._servers = NameServers(fds.get("name_servers"))
        self.speakers = frozenset({_ROOT, *_uids(_DAEMONS)})

    def refresh(self) -> None:
        """Read the host's name servers again if they may have changed."""
        self._servers.refresh()

    def of(self, failure: Failure) -> str | None:
        """Return the host name that the failed attempt was for, None if unknown."""
        process = failure.process
        if self._names is None or process is None:
            return None
        to = failure.destination
        began = failure.mono - (failure.elapsed or 0.0)
        own = self._heard(NAME_KEY.pack(process.pid, 0, to.netns, to.netns_mix, pack(to.address)))
        # The name servers of other network namespaces are unknown here.
        users = () if to.netns else {process.uid, *self.speakers}

        def shared() -> list[Heard]:
            return [self._heard(NAME_KEY.pack(uid, 1, 0, 0, pack(to.address))) for uid in users]

        return choose(own, process.born, shared, began)

    def ttl_since(self, address: str, mono: float) -> int | None:
        """Return the TTL of an answer to this process for an address since `mono` (seconds).

        None if no such answer was seen.
        """
        told = self._told(NAME_KEY.pack(os.getpid(), 0, 0, 0, pack(address)))
        return told.ttl if told is not None and told.seen >= mono * 1e9 else None

    def hearings(self) -> Hearings:
        """Return what all processes were told. It reads all names: a matter of milliseconds."""
        try:
            entries = {} if self._names is None else items(self._names, NAME_KEY.size, NAME.size)
        except OSError as error:
            log.warning("names cannot be read: %s", error.strerror)
            entries = {}
        return Hearings(entries)

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
        value = lookup(self._marks, NUMBER.pack(slot), LONG.size)
        return int(LONG.unpack(value)[0]) if value else 0


def slots(key: bytes) -> tuple[int, int]:
    """Return the slots of name_marks for a key: that of its mark, and that of its doubt."""
    words = _WORDS.unpack(key)
    who = _hash(0, words[:_WORDS_WHO])
    return _slot(words[1], _hash(who, words[_WORDS_WHO:])), _slot(NAME_MARKS_DOUBT, who)


def _hash(value: int, words: tuple[int, ...]) -> int:
    for word in words:
        value = (value ^ word) * NAME_HASH % 2**64
    return value


def _slot(kind: int, hashed: int) -> int:
    return kind * NAME_MARKS + hashed * NAME_MARKS // 2**64


def _uids(accounts: tuple[str, ...]) -> set[int]:
    """Return the ids of those accounts that this host has."""
    found = set()
    for name in accounts:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return found
