"""Hosts: names whose current addresses are watched.

Names are resolved as applications do it (`getaddrinfo`: /etc/hosts, search domains and all), in a
thread, because a name server may take any time. The kernel program reads the TTL from the answers
(`probes/names.py`): `getaddrinfo` does not return it.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - for getaddrinfo: no thread should import it
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from tcp_trace.connects.watch import ADDRESSES_MAX
from tcp_trace.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcp_trace.connects.watch import Host, Rule

    Resolve = Callable[[str], list[str]]
    Ttl = Callable[[str, float], int | None]

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""Until the next try after a failed look-up."""
DEFAULT_SECONDS = 60.0
"""Between two look-ups of a name without a known TTL: it is in /etc/hosts, or no answer was seen.
"""
SHORTEST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
"""Bounds of the time between two look-ups, for any TTL."""
LINGER_SECONDS = 3_600.0
"""An address is watched for this long after it was last seen: applications keep theirs, too."""


def addresses_of(name: str) -> list[str]:
    """Return the addresses of a name, as an application gets them. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # Without the interface of a link-local address: the kernel's filter has none.
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


class _Name:
    """The addresses of one name; times are seconds of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.due = 0.0
        self.failing = False

    def found(self, addresses: Iterable[str], now: float) -> None:
        """Take in the answer of a look-up; drop old addresses."""
        for address in addresses:
            self.seen.pop(address, None)
            self.seen[address] = now
        kept = [(a, t) for a, t in self.seen.items() if now - t <= LINGER_SECONDS]
        self.seen = dict(kept[-ADDRESSES_MAX:])


class Resolver:
    """Keeps the addresses of hosts up to date.

    When they change, `fd` becomes readable and `has_news` true, until `rules` is called.

    `resolve` returns the addresses of a name or raises OSError. `ttl` returns the TTL (seconds) of
    an answer with an address since a time of CLOCK_MONOTONIC, None if unknown.
    """

    def __init__(self, hosts: tuple[Host, ...], resolve: Resolve, ttl: Ttl) -> None:
        self._resolve = resolve
        self._ttl = ttl
        self._hosts = hosts
        self._names = {host.name: _Name() for host in hosts}
        self._rules: frozenset[Rule] = frozenset()
        self.has_news = False
        self._by_address: dict[str, set[str]] = {}
        # Guards the fields above; notified when hosts are replaced or all are resolved.
        self._changed = threading.Condition()
        self._worker = Worker(self._run, "resolver of host names")
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def start(self, patience: float) -> None:
        """Start; wait for the first answers of all hosts, at most `patience` seconds."""
        if self._worker.start():
            with self._changed:
                self._changed.wait_for(self._all_asked, patience)

    def retry(self) -> None:
        """Start the thread if the system refused it before."""
        self._worker.retry()

    def replace(self, hosts: tuple[Host, ...]) -> None:
        """Watch these hosts from now on; those in both sets keep their addresses."""
        with self._changed:
            self._hosts = hosts
            self._names = {host.name: self._names.get(host.name, _Name()) for host in hosts}
            self._publish()
            self._changed.notify_all()

    def rules(self) -> frozenset[Rule]:
        """Return the rules for the addresses to watch now."""
        with self._changed:
            if self.has_news:
                os.eventfd_read(self.fd)
            self.has_news = False
            return self._rules

    def name_of(self, address: str) -> str | None:
        """Return the host with an address, None if none or several have it."""
        with self._changed:
            names = self._by_address.get(address, set())
            return next(iter(names)) if len(names) == 1 else None

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a watched host, the latest first; its name has no last dot."""
        with self._changed:
            found = {
                address: seen
                for host, known in self._names.items()
                if host.removesuffix(".") == name
                for address, seen in known.seen.items()
            }
        return sorted(found, key=found.__getitem__, reverse=True)

    def _run(self) -> None:
        while True:
            with self._changed:
                name = self._next_due()
            self._look_up(name)

    def _next_due(self) -> str:
        """Wait until a look-up is due; return the name."""
        while True:
            due = min(((known.due, name) for name, known in self._names.items()), default=None)
            now = time.monotonic()
            if due is not None and due[0] <= now:
                return due[1]
            self._changed.wait(None if due is None else due[0] - now)

    def _look_up(self, name: str) -> None:
        began = time.monotonic()
        try:
            addresses = self._resolve(name)
        except OSError as error:
            self._failed(name, error.strerror or str(error))
            return
        told = [self._ttl(address, began) for address in addresses]
        known = [ttl for ttl in told if ttl is not None]
        wait = min(max(min(known), SHORTEST_SECONDS), LONGEST_SECONDS) if known else DEFAULT_SECONDS
        with self._changed:
            if entry := self._names.get(name):
                if entry.failing:
                    log.info("the host %s is resolved again", name)
                entry.failing = False
                now = time.monotonic()
                entry.found(addresses, now)
                entry.due = now + wait
                self._publish()
            self._changed.notify_all()

    def _failed(self, name: str, why: str) -> None:
        with self._changed:
            if entry := self._names.get(name):
                if not entry.failing:
                    kept = "still watching its last addresses" if entry.seen else "not watching it"
                    log.error("the host %s cannot be resolved (%s); %s", name, why, kept)
                entry.failing = True
                entry.due = time.monotonic() + RETRY_SECONDS
            self._changed.notify_all()

    def _publish(self) -> None:
        rules = frozenset(
            host.rule(address) for host in self._hosts for address in self._names[host.name].seen
        )
        self._by_address = {}
        for name, known in self._names.items():
            for address in known.seen:
                self._by_address.setdefault(address, set()).add(name.removesuffix("."))
        if rules != self._rules:
            self._rules = rules
            if not self.has_news:
                os.eventfd_write(self.fd, 1)
            self.has_news = True

    def _all_asked(self) -> bool:
        return all(known.due for known in self._names.values())
