"""The names of this host's users, without waiting for a name service."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tcp_trace.connects.maker import clean

_PASSWD_LIMIT = 1 << 20
_PASSWD_CHECK = 10.0


class Users:
    """The names of users by uid, from files on this host.

    Not from the C library: it may wait for an LDAP server, and the caller cannot wait.
    """

    def __init__(
        self,
        passwd: Path = Path("/etc/passwd"),
        dynamic: Path = Path("/run/systemd/dynamic-uid"),
    ) -> None:
        self._passwd = passwd
        self._dynamic = dynamic
        self._names: dict[int, str] = {}
        self._version: tuple[int, int, int] | None = None
        self._check_at = 0.0

    def name(self, uid: int) -> str | None:
        """Return the name of the user, None if these files have none."""
        now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + _PASSWD_CHECK
            self._refresh()
        known = self._names.get(uid)
        return known if known is not None else self._dynamic_name(uid)

    def _refresh(self) -> None:
        try:
            with self._passwd.open("rb") as file:
                stat = os.fstat(file.fileno())
                version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if version != self._version:
                    self._names = _names(file.read(_PASSWD_LIMIT))
                    self._version = version
        except OSError:
            self._names, self._version = {}, None

    def _dynamic_name(self, uid: int) -> str | None:
        """Return the name of a dynamic user, whom systemd creates for a unit (DynamicUser)."""
        try:
            return clean(str((self._dynamic / f"direct:{uid}").readlink()))
        except OSError:
            return None


def _names(passwd: bytes) -> dict[int, str]:
    names: dict[int, str] = {}
    for line in passwd.decode(errors="backslashreplace").splitlines():
        fields = line.split(":")
        # Fields after the uid prove that the line is whole: in a cut line the uid may be another
        # user's.
        if len(fields) > 3 and fields[2].isdecimal() and fields[0]:
            names.setdefault(int(fields[2]), clean(fields[0]))
    return names
