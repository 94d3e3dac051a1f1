"""`tcp-trace check`: tells whether this host can run the service, and how to mend it.

Every check looks and changes nothing; the webhook's host is reached, but no message is posted.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import reach, trial
from tcp_trace.commands.findings import Finding, Level
from tcp_trace.commands.trial import tried
from tcp_trace.host import serviceuser
from tcp_trace.kernel import btf, features, headers
from tcp_trace.settings import config, credentials, requirements
from tcp_trace.settings.config import Hook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcp_trace.settings.config import Settings

KALLSYMS = Path("/proc/kallsyms")
KPROBE_PMU = features.KPROBE_PMU
TRACING = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
LOCKDOWN = Path("/sys/kernel/security/lockdown")
PERF_EVENT_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
STATUS = Path("/proc/self/status")

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39
_TESTED_SINCE = (5, 10)
_PACKAGES = "apt install python3-bpfcc"


def run(environ: Mapping[str, str], env_file: Path | None) -> list[Finding]:
    """Return the findings of all checks, in the order in which the service needs the things."""
    settings, configuration = _configuration(environ, env_file)
    hook = settings.hook if settings else Hook.AUTO
    findings = [_kernel(), *_layout(), _hook(hook), _returns(), *_tools(), _privileges()]
    findings += configuration
    if settings:
        findings += [_user(settings.service_user), *_as_service(settings, environ, env_file)]
    return findings


def _as_service(
    settings: Settings, environ: Mapping[str, str], env_file: Path | None
) -> Iterator[Finding]:
    """Run the checks that depend on the user, or talk to strangers, as the service's user."""
    try:
        account = serviceuser.chosen(settings.service_user)
    except serviceuser.AccountError:
        what = "configuration, state, host names and webhooks are not tried without that user"
        yield Finding("service", Level.WARN, what, "make the user, and check again")
        return
    with contextlib.suppress(ImportError):  # which is a finding
        # Loaded here: that user may not enter every directory that a program can be in.
        importlib.import_module("tcp_trace.notify.transport")
    if serviceuser.name_of(account.uid) == settings.service_user:
        yield from tried(
            account, "configuration", lambda: trial.configuration(account, environ, env_file)
        )
        yield from tried(account, "user", lambda: trial.program(account))
        yield from tried(account, "state", lambda: trial.state(account, settings))
    else:
        yield _unknown("state", f"whether {settings.service_user} can read and write its files")
    yield from tried(account, "host", lambda: reach.hosts(settings.dest_host), reach.LIMITS)
    yield from tried(account, "webhook", lambda: reach.webhooks(settings), reach.LIMITS)


def _unknown(name: str, what: str) -> Finding:
    """Return the finding that only root can know something."""
    return Finding(name, Level.WARN, f"not known without root: {what}", "sudo tcp-trace check")


def _kernel() -> Finding:
    release = platform.release()
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if version < _TESTED_SINCE:
        return Finding("kernel", Level.WARN, release, "tested from 5.10 on; use a newer kernel")
    return Finding("kernel", Level.OK, release)


def _layout() -> Iterator[Finding]:
    """Check where the layout of the kernel's structs comes from: BTF, or else its headers."""
    try:
        btf.read()
    except btf.BtfError as error:
        yield Finding("btf", Level.WARN, str(error), "the exact kernel headers are used instead")
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


def _hook(wanted: Hook) -> Finding:
    """Check whether the wanted hook is there, and a kprobe run."""
    symbols = KALLSYMS.read_text() if KALLSYMS.exists() else ""
    lockdown = LOCKDOWN.read_text() if LOCKDOWN.exists() else ""
    kprobe = bool(re.search(r" tcp_set_state$", symbols, re.MULTILINE)) and (
        _seen(KPROBE_PMU) or any(_seen(path / "kprobe_events") for path in TRACING)
    )
    tracepoint = " __traceiter_inet_sock_set_state\n" in symbols or any(
        _seen(path / "events/sock/inet_sock_set_state") for path in TRACING
    )
    if "[confidentiality]" in lockdown:
        fix = "boot without lockdown=confidentiality"
        return Finding("hook", Level.FAIL, "the kernel is locked down: no tracing at all", fix)
    if wanted is not Hook.TRACEPOINT and kprobe:
        if features.is_kprobe_run() is False:
            return _not_run(wanted)
        return Finding("hook", Level.OK, "kprobe on tcp_set_state")
    if wanted is not Hook.KPROBE and tracepoint:
        note = "" if wanted is Hook.TRACEPOINT else "; this kernel has no kprobes"
        return Finding("hook", Level.OK, f"tracepoint sock:inet_sock_set_state{note}")
    if os.geteuid() != 0 and not any(map(_open, TRACING)):
        return _unknown("hook", "whether there is a kprobe or a tracepoint")
    missing = {
        Hook.KPROBE: ("no kprobe can be placed on tcp_set_state", "HOOK=auto"),
        Hook.TRACEPOINT: ("no tracepoint sock:inet_sock_set_state", "HOOK=auto"),
        Hook.AUTO: ("neither kprobe nor tracepoint", "a kernel with CONFIG_KPROBES"),
    }
    detail, remedy = missing[wanted]
    return Finding("hook", Level.FAIL, detail, f"use {remedy}")


def _not_run(wanted: Hook) -> Finding:
    detail = "a kprobe on tcp_set_state is not run"
    fix = "write 1 to /sys/kernel/debug/kprobes/enabled and set kernel.ftrace_enabled=1"
    if wanted is Hook.KPROBE:
        return Finding("hook", Level.FAIL, detail, fix)
    note = "; the service takes the tracepoint"
    return Finding("hook", Level.WARN, detail + note, fix)


def _returns() -> Finding:
    """Check whether functions can be watched returning: each that the start wants is tried."""
    watched = {
        "connect()": ("tcp_v4_connect", "tcp_v6_connect"),
        "recvmsg()": ("inet_recvmsg", "inet6_recvmsg"),
    }
    try:
        numbers = btf.read(sum(watched.values(), ())).functions
    except btf.BtfError:
        numbers = {}
    can = {
        what: [features.can_watch_returning(numbers.get(name)) for name in names]
        for what, names in watched.items()
    }
    if None in can["connect()"]:
        return _unknown("returns", "whether programs can watch functions returning")
    missing = {
        "connect()": "connects that fail before a SYN are not seen",
        "recvmsg()": "host names are not known",
    }
    if features.is_ftrace_off():
        return Finding(
            "returns",
            Level.WARN,
            f"ftrace is off: {', and '.join(missing.values())}",
            "set kernel.ftrace_enabled=1 before the service starts",
        )
    unseen = [what for what, answers in can.items() if not all(answers)]
    if not unseen:
        return Finding("returns", Level.OK, "connect() and recvmsg() are watched returning")
    detail = (
        f"this kernel lets no program watch {' and '.join(unseen)} returning (BPF trampolines):"
        f" {', and '.join(missing[what] for what in unseen)}"
    )
    return Finding("returns", Level.WARN, detail, "nothing to do: all else works")


def _open(directory: Path) -> bool:
    """Tell whether a directory is there and this user may look into it."""
    return os.access(directory, os.X_OK)


def _seen(path: Path) -> bool:
    """Tell whether a path is there and this user may see it."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _tools() -> Iterator[Finding]:
    """Check the packages, as the start does; and that bcc is the right one."""
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
        return Finding("bcc", Level.FAIL, f"{where} is another package of that name", fix)
    version = getattr(bcc, "__version__", "of unknown version")
    return Finding("bcc", Level.OK, f"{version} for {python}")


def _held() -> int:
    """Return the capabilities of this process, as bits."""
    status = re.search(r"^CapEff:\s*([0-9a-f]+)", STATUS.read_text(), re.MULTILINE)
    return int(status[1], 16) if status else 0


def _privileges() -> Finding:
    held = _held()
    has_all = held >> _CAP_SYS_ADMIN & 1
    has_narrow = held >> _CAP_BPF & 1 and held >> _CAP_PERFMON & 1
    paranoid = PERF_EVENT_PARANOID.read_text().strip() if PERF_EVENT_PARANOID.exists() else "0"
    fix = "sudo tcp-trace check; the service gets its privileges from systemd"
    if has_all:
        return Finding("privileges", Level.OK, "CAP_SYS_ADMIN; given up once attached")
    if not has_narrow:
        return Finding("privileges", Level.FAIL, "neither root nor CAP_BPF and CAP_PERFMON", fix)
    if int(paranoid) > 2:
        why = f"perf_event_paranoid is {paranoid}, which takes CAP_SYS_ADMIN"
        return Finding("privileges", Level.FAIL, why, fix)
    return Finding("privileges", Level.OK, "CAP_BPF and CAP_PERFMON; given up once attached")


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
    """Return an error of the configuration; what another user may read is none of it."""
    if os.geteuid() != 0 and os.strerror(errno.EACCES) in error:
        return _unknown("configuration", error)
    return Finding("configuration", Level.FAIL, error, _where(error))


def _where(error: str) -> str:
    """Return the place to correct, if the sentence does not name it."""
    variable = re.match(r"([A-Z_]+(?:, [A-Z_]+)*)[=:]", error)
    return f"{variable[1]} is set in the environment: correct it there" if variable else ""


def _user(name: str) -> Finding:
    try:
        account = serviceuser.account_of(name)
    except serviceuser.AccountError as error:
        why, _, fix = str(error).partition(": ")
        return Finding("user", Level.FAIL, why, fix)
    return Finding("user", Level.OK, f"{name}, uid {account.uid}")
