"""Checks that must run as the service's user: `check` runs them in a child.

Root may read and write files that the service may not, and must neither open the service's files
nor read untrusted answers. The checks change nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tcp_trace import resources
from tcp_trace.host import unprivileged
from tcp_trace.host.serviceuser import name_of
from tcp_trace.host.unprivileged import Refused
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.notify.reading import StateError, read_state
from tcp_trace.notify.store import NAME
from tcp_trace.settings import config
from tcp_trace.settings.routes import NO_CREDENTIAL
from tcp_trace.silences import silencefile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tcp_trace.kernel.privileges import Account
    from tcp_trace.settings.config import Settings


def tried(
    account: Account,
    name: str,
    function: Callable[[], Iterable[Finding]],
    limits: unprivileged.Limits = unprivileged.LIMITS,
) -> Iterator[Finding]:
    """Yield the findings of a function run as this account; a refusal is a finding, too."""
    what = f"trying the {name} as {name_of(account.uid)}"
    try:
        found = unprivileged.call(account, what, lambda: [_plain(f) for f in function()], limits)
        yield from (Finding(str(n), Level(level), str(d), str(f)) for n, level, d, f in found)
    except (Refused, ValueError, TypeError) as error:
        yield Finding(name, Level.FAIL, str(error))


def _plain(finding: Finding) -> tuple[str, str, str, str]:
    return finding.name, finding.level.value, finding.detail, finding.fix


def configuration(
    account: Account, environ: Mapping[str, str], env_file: Path | None
) -> Iterator[Finding]:
    """Read all configuration files as the service does at start and reload.

    Credentials are not read: systemd reads them, as root.
    """
    given = {name: text for name, text in environ.items() if name != "CREDENTIALS_DIRECTORY"}
    try:
        config.load(given, env_file)
    except config.ConfigError as error:
        fix = (
            f"let the user {name_of(account.uid)} read it: chgrp to one of his groups, chmod g+r,"
            " and g+x for every parent directory"
        )
        for text in error.errors:
            # Files named only in this command's environment may be root's: systemd's service does
            # not have that environment.
            level = Level.FAIL if text.startswith("/") else Level.WARN
            if not text.endswith(NO_CREDENTIAL):
                detail = f"for the user {name_of(account.uid)}: {text}"
                yield Finding("configuration", level, detail, fix)


def program(account: Account) -> Iterator[Finding]:
    """Check the program itself, which the service's user executes again."""
    path = resources.directory("tcp_trace") / "__main__.py"
    if not os.access(path, os.R_OK):
        fix = "install it with 'make install', or move the checkout"
        yield Finding("user", Level.FAIL, f"{name_of(account.uid)} may not read {path}", fix)


def state(account: Account, settings: Settings) -> Iterator[Finding]:
    """Check the directory, and read every file in it that the service reads."""
    path = settings.state_dir
    if not os.path.lexists(path):
        yield Finding(
            "state", Level.WARN, f"{path} does not exist", "systemd creates it at the start"
        )
    elif not path.is_dir():
        yield Finding(
            "state", Level.FAIL, f"STATE_DIR={path} is not a directory", "choose another one"
        )
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        detail = f"{name_of(account.uid)} cannot write to STATE_DIR={path}"
        yield Finding("state", Level.FAIL, detail, f"chown -R {name_of(account.uid)} {path}")
    else:
        yield from _files(account, path) or [Finding("state", Level.OK, str(path))]


def _files(account: Account, directory: Path) -> list[Finding]:
    found = []
    outbox = directory / NAME
    if outbox.exists() and not os.access(outbox, os.R_OK | os.W_OK):
        detail = f"{name_of(account.uid)} cannot write to {outbox}"
        found.append(
            Finding("state", Level.FAIL, detail, f"chown -R {name_of(account.uid)} {directory}")
        )
    else:
        try:
            read_state(outbox)
        except StateError as error:
            found.append(Finding("state", Level.WARN, str(error)))
    try:
        unread = silencefile.read(directory / silencefile.NAME).unread
    except silencefile.SilenceFileError as error:
        found.append(Finding("silences", Level.FAIL, str(error)))
    else:
        fix = "tcp-trace silence remove, or correct it"
        found += [Finding("silences", Level.WARN, str(each), fix) for each in unread[:_MOST]]
    return found


_MOST = 5
