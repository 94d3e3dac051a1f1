"""`tcp-trace check`: checks whether this host can run the service, and how to fix what fails.

No check changes anything. The webhook's host is contacted, but no message is sent.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import platform
import re
import sys
from typing import TYPE_CHECKING

from tcp_trace import resources
from tcp_trace.commands import reach, trial
from tcp_trace.commands.trial import tried
from tcp_trace.host import serviceuser
from tcp_trace.kernel import btf, headers, readiness, source
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.kernel.readiness import unknown
from tcp_trace.probes import registry
from tcp_trace.settings import config, credentials, requirements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tcp_trace.settings.config import Settings

_TESTED_SINCE = (5, 10)
_PACKAGES = "apt install python3-bpfcc"


def run(environ: Mapping[str, str], env_file: Path | None) -> list[Finding]:
    """Return the findings of all checks, in the order of the service's needs."""
    settings, configuration = _configuration(environ, env_file)
    findings = [_kernel(), *_layout(), *_probes(settings), *_tools(), readiness.privileges()]
    findings += configuration
    if settings:
        findings += [_user(settings.service_user), *_as_service(settings, environ, env_file)]
    return findings


def _as_service(
    settings: Settings, environ: Mapping[str, str], env_file: Path | None
) -> Iterator[Finding]:
    """Run, as the service's user, the checks that depend on the user or use the network."""
    try:
        account = serviceuser.chosen(settings.service_user)
    except serviceuser.AccountError:
        what = "without that user, configuration, state, host names and webhooks are not checked"
        yield Finding("service", Level.WARN, what, "create the user, and check again")
        return
    with contextlib.suppress(ImportError):  # reported as a finding
        # Loaded here: that user may be unable to enter the module's directory.
        importlib.import_module("tcp_trace.notify.transport")
    if serviceuser.name_of(account.uid) == settings.service_user:
        yield from tried(
            account, "configuration", lambda: trial.configuration(account, environ, env_file)
        )
        yield from tried(account, "user", lambda: trial.program(account))
        yield from tried(account, "state", lambda: trial.state(account, settings))
    else:
        yield unknown("state", f"whether {settings.service_user} can read and write its files")
    yield from tried(account, "host", lambda: reach.hosts(settings.dest_host), reach.LIMITS)
    yield from tried(account, "webhook", lambda: reach.webhooks(settings), reach.LIMITS)


def _kernel() -> Finding:
    release = platform.release()
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if version < _TESTED_SINCE:
        return Finding("kernel", Level.WARN, release, "tested from 5.10 on; use a newer kernel")
    return Finding("kernel", Level.OK, release)


def _layout() -> Iterator[Finding]:
    """Check the source of the kernel's struct layout: BTF, otherwise its headers."""
    text = source.text_of((probe.source for probe in registry.PROBES), resources.directory("bpf"))
    try:
        btf.read(source.fields(text))
    except btf.BtfError as error:
        yield Finding("btf", Level.WARN, str(error), "the exact kernel headers are needed instead")
    else:
        yield Finding("btf", Level.OK, str(btf.VMLINUX))
        return
    try:
        headers.require()
    except headers.HeadersMissing as error:
        why, _, fix = str(error).partition(": ")
        yield Finding("headers", Level.FAIL, why, fix)
    else:
        yield Finding("headers", Level.OK, platform.release())


def _probes(settings: Settings | None) -> Iterator[Finding]:
    """Check the hooks of the wanted probes; without a configuration, those of the defaults."""
    settings = settings or config.load({}, None)
    for probe in registry.wanted(settings):
        yield from readiness.points(probe, settings)


def _tools() -> Iterator[Finding]:
    """Check the packages, as the start does, and that bcc is the right one."""
    yield _bcc()
    missing = [one for one in requirements.missing() if one.name != "bcc"]
    for requirement in missing:
        why, _, fix = str(requirement).partition(": ")
        yield Finding("packages", Level.FAIL, why, fix)
    if not missing:
        names = ", ".join(one.package for one in requirements.REQUIRED)
        yield Finding("packages", Level.OK, names)


def _bcc() -> Finding:
    python = f"{sys.executable} ({platform.python_version()})"
    try:
        bcc = importlib.import_module("bcc")
    except (ImportError, OSError) as error:
        fix = f"{_PACKAGES}, and run with /usr/bin/python3"
        return Finding("bcc", Level.FAIL, f"{python}: {error}", fix)
    if not hasattr(bcc, "BPF"):
        where = getattr(bcc, "__file__", None) or "an unknown place"
        fix = f"pip uninstall bcc; {_PACKAGES}"
        return Finding("bcc", Level.FAIL, f"{where} is a different package named bcc", fix)
    version = getattr(bcc, "__version__", "of unknown version")
    return Finding("bcc", Level.OK, f"{version} for {python}")


def _configuration(
    environ: Mapping[str, str], env_file: Path | None
) -> tuple[Settings | None, list[Finding]]:
    name = "configuration"
    source = str(env_file) if env_file else "the environment"
    try:
        with credentials.of_the_unit(environ) as given:
            settings = config.load(given, env_file)
    except config.ConfigError as error:
        return None, [_wrong(text) for text in error.errors]
    warnings = [Finding(name, Level.WARN, text) for text in settings.warnings]
    return settings, warnings or [Finding(name, Level.OK, source)]


def _wrong(error: str) -> Finding:
    """Return a configuration error; a file that only another user may read is none."""
    if os.geteuid() != 0 and os.strerror(errno.EACCES) in error:
        return unknown("configuration", error)
    return Finding("configuration", Level.FAIL, error, _where(error))


def _where(error: str) -> str:
    """Return the place to correct if the sentence does not name it."""
    variable = re.match(r"([A-Z_]+(?:, [A-Z_]+)*)[=:]", error)
    return f"{variable[1]} is set in the environment: correct it there" if variable else ""


def _user(name: str) -> Finding:
    try:
        account = serviceuser.account_of(name)
    except serviceuser.AccountError as error:
        why, _, fix = str(error).partition(": ")
        return Finding("user", Level.FAIL, why, fix)
    return Finding("user", Level.OK, f"{name}, uid {account.uid}")
