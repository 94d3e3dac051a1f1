"""The part of the environment that a process with privileges uses and hands on.

Variables and the locale change what root executes and how: where Python, the loader and the
compiler look for files, and what the compiler takes for a lower-case letter.
"""

from __future__ import annotations

import locale
import os
from typing import TYPE_CHECKING

from tcp_trace.settings.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""The search path for programs, whatever the environment says."""

_FIXED = {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
    # The threads that send wait for each other anyway: a heap for each would be 1 MB for nothing.
    "MALLOC_ARENA_MAX": "1",
}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_HANDED_ON = frozenset(
    {
        *(variable.name for variable in VARIABLES),
        # Set by systemd; see its page on executing.
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"),
        *("STATE_DIRECTORY", "LOGS_DIRECTORY", "JOURNAL_STREAM", "INVOCATION_ID"),
        *_PROXIES,
        *map(str.upper, _PROXIES),
        *("TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        "MALLOC_ARENA_MAX",
    }
)


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that may reach the service; all others are dropped."""
    given = {name: value for name, value in environ.items() if name in _HANDED_ON}
    return {**_FIXED, **given}


def restrict() -> None:
    """Let this process, which has privileges, go on with `allowed` and in the locale C.

    Variables that the interpreter itself reads were read before this runs.
    """
    kept = allowed(os.environ)
    # The kernel also hands on "=x", the name of which is empty and cannot be removed.
    for name in [name for name in os.environ if name and name not in kept]:
        del os.environ[name]
    os.environ.update(kept)
    locale.setlocale(locale.LC_ALL, "C")
