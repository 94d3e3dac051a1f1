"""The user that the service runs as, and the users it must not be."""

from __future__ import annotations

import os
import pwd

from tcp_trace.kernel.privileges import Account

_OVERFLOW_UID = 65534
"""Documentation/admin-guide/sysctl/fs.rst: the id of users unknown to the kernel; also `nobody`'s.
"""


class AccountError(Exception):
    """The service cannot run as this user; the text says why and what to do."""


def chosen(name: str) -> Account:
    """Return the account of stage 2: the user `name` if started as root, otherwise the caller's.

    Raises AccountError, see `account_of`.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    return account_of(name)


def account_of(name: str) -> Account:
    """Return the user `name` with his groups.

    Raises AccountError if he does not exist, or is root or nobody. Others run processes as nobody,
    too: they could read the webhook from the service's memory, and take its maps.
    """
    make = "useradd --system --user-group --shell /usr/sbin/nologin"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise AccountError(
            f"SERVICE_USER={name} does not exist: create it with 'make install' or '{make} {name}'"
        ) from None
    if entry.pw_uid in {0, _OVERFLOW_UID}:
        raise AccountError(
            f"SERVICE_USER={name} must be a user of the service's own: create one with"
            f" '{make} tcp-trace'"
        )
    return Account(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def name_of(uid: int) -> str:
    """Return the name of a user, the uid if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
