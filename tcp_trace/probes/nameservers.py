"""The name servers that this host is configured with, for the kernel program.

They are those of /etc/resolv.conf, which programs ask, and those that systemd-resolved asks. Only
their answers can name an address for other processes than the receiver. They hold for the service's
own network namespace: another one may have another file, which cannot be known here.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from tcp_trace.kernel.maps import keys, replace
from tcp_trace.probes.addresses import pack
from tcp_trace.probes.shapes import NAME_SERVER, NAME_SERVERS_MAX

log = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
UPSTREAMS = Path("/run/systemd/resolve/resolv.conf")

_READ_LIMIT = 65_536
# The default without any configured (resolv.conf(5)), and the addresses of systemd-resolved.
_LOCAL = (("127.0.0.1", 0),)
_STUBS = (("127.0.0.53", 0), ("127.0.0.54", 0))


class NameServers:
    """Keeps the map of name servers up to date. Not thread-safe: it belongs to the poll loop.

    `fd` is the map's descriptor; with None no names are learned, and nothing is done.
    """

    def __init__(
        self, fd: int | None, resolv_conf: Path = RESOLV_CONF, upstreams: Path = UPSTREAMS
    ) -> None:
        self._fd = fd
        self._files = (resolv_conf, upstreams)
        self._version: tuple[object, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the files again if they changed. Costs two calls if not."""
        if self._fd is None:
            return
        version = tuple(map(_version, self._files))
        if version == self._version:
            return
        self._version = version
        servers = frozenset(
            NAME_SERVER.pack(pack(a), scope) for a, scope in configured(*self._files)
        )
        try:
            replace(self._fd, frozenset(keys(self._fd, NAME_SERVER.size)), servers)
        except OSError as error:
            log.error(  # noqa: TRY400 - the sentence says it all
                "cannot set the name servers, so names of other processes are unknown: %s",
                error.strerror,
            )


def configured(resolv_conf: Path, upstreams: Path) -> set[tuple[str, int]]:
    """Return the addresses of the name servers in these files, with their scope ids."""
    asked = _named(resolv_conf)
    if upstreams.exists():
        asked |= {*_STUBS, *_named(upstreams)}
    return set(sorted(asked or _LOCAL)[:NAME_SERVERS_MAX])


def _named(file: Path) -> set[tuple[str, int]]:
    try:
        with file.open("rb") as opened:
            lines = opened.read(_READ_LIMIT).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return set()
    except OSError as error:
        log.warning("%s: %s; its name servers are unknown", file, error.strerror)
        return set()
    words = (line.split() for line in lines)
    named = (_server(found[1]) for found in words if found[:1] == ["nameserver"] and found[1:])
    return {server for server in named if server is not None}


def _server(address: str) -> tuple[str, int] | None:
    """Return an address and its scope id, None for one that the C library refuses, too."""
    plain, _, scope = address.partition("%")
    try:
        if ":" in plain:
            parsed = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, plain))
            return parsed, _scope_id(scope) if scope else 0
        return socket.inet_ntoa(socket.inet_aton(plain)), 0
    except (OSError, ValueError):  # ValueError: a NUL
        return None


def _scope_id(scope: str) -> int:
    return int(scope) if scope.isascii() and scope.isdecimal() else socket.if_nametoindex(scope)


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
