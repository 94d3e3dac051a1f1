"""`tcp-trace check`: can this host run the service, and what to do where it cannot.

Every check looks and changes nothing; the webhook's host is reached, but no message is posted.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import pwd
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tcp_trace import config, resolver, serviceuser
from tcp_trace.config import Hook
from tcp_trace.delivery.channel import TransportError
from tcp_trace.findings import Finding, Level
from tcp_trace.kernel import btf, features, headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcp_trace.config import Secret, Settings
    from tcp_trace.core.watch import Host

KALLSYMS = Path("/proc/kallsyms")
KPROBE_PMU = Path("/sys/bus/event_source/devices/kprobe/type")
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
        findings += map(_host, settings.dest_host)
        findings += [_user(settings.service_user), _state_dir(settings), *_webhooks(settings)]
    return findings


def _kernel() -> Finding:
    release = platform.release()
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if version < _TESTED_SINCE:
        return Finding("kernel", Level.WARN, release, "tested from 5.10 on; use a newer kernel")
    return Finding("kernel", Level.OK, release)


def _layout() -> Iterator[Finding]:
    """Check where the layout of the kernel's structs comes from, and the compiler's headers."""
    try:
        btf.offsets()
    except btf.BtfError as error:
        yield Finding("btf", Level.WARN, str(error), "the exact kernel headers are used instead")
        has_btf = False
    else:
        yield Finding("btf", Level.OK, str(btf.VMLINUX))
        has_btf = True
    try:
        found = headers.find(exact_only=not has_btf)
    except headers.HeadersMissing as error:
        why, _, fix = str(error).partition(": ")
        yield Finding("headers", Level.FAIL, why, fix)
    else:
        note = "" if found.exact else "; not this kernel's, which does no harm"
        yield Finding("headers", Level.OK, f"{found.release}{note}")


def _hook(wanted: Hook) -> Finding:
    """Check whether the wanted hook is there, by asking and not by attaching."""
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
        return Finding("hook", Level.OK, "kprobe on tcp_set_state")
    if wanted is not Hook.KPROBE and tracepoint:
        note = "" if wanted is Hook.TRACEPOINT else "; this kernel has no kprobes"
        return Finding("hook", Level.OK, f"tracepoint sock:inet_sock_set_state{note}")
    missing = {
        Hook.KPROBE: ("no kprobe can be placed on tcp_set_state", "HOOK=auto"),
        Hook.TRACEPOINT: ("no tracepoint sock:inet_sock_set_state", "HOOK=auto"),
        Hook.AUTO: ("neither kprobe nor tracepoint", "a kernel with CONFIG_KPROBES"),
    }
    detail, remedy = missing[wanted]
    return Finding("hook", Level.FAIL, detail, f"use {remedy}")


def _returns() -> Finding:
    """Check whether functions can be watched returning, which takes BPF trampolines."""
    if features.has_trampolines():
        return Finding("returns", Level.OK, "connect() and recvmsg() are watched returning")
    return Finding(
        "returns",
        Level.WARN,
        "this kernel lets no program watch functions returning (BPF trampolines): connects that"
        " fail before a SYN are not seen, and host names are not known",
        "nothing to do: all else works",
    )


def _host(host: Host) -> Finding:
    """Check whether a name that is to be watched has an address."""
    try:
        addresses = resolver.addresses_of(host.name)
    except OSError as error:
        detail = f"{host.name} cannot be resolved ({error.strerror})"
        fix = "correct it in DEST_IP or DEST_HOST; it is not watched until it can be"
        return Finding("host", Level.WARN, detail, fix)
    return Finding("host", Level.OK, f"{host.name} is {', '.join(addresses)}")


def _seen(path: Path) -> bool:
    """Tell whether a path is there and this user may see it."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _tools() -> Iterator[Finding]:
    """Check what must be installed: BCC for this Python, its library, and libseccomp."""
    yield _bcc()
    libraries = (("libbcc_bpf", "0", "libbpfcc"), ("libseccomp", "2", "libseccomp2"))
    for name, version, package in libraries:
        library = f"{name}.so.{version}"
        try:
            ctypes.CDLL(library)
        except OSError:
            yield Finding(name, Level.FAIL, f"{library} cannot be loaded", f"apt install {package}")
        else:
            yield Finding(name, Level.OK, library)


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


def _privileges() -> Finding:
    status = re.search(r"^CapEff:\s*([0-9a-f]+)", STATUS.read_text(), re.MULTILINE)
    held = int(status[1], 16) if status else 0
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
        settings = config.load(environ, env_file)
    except config.ConfigError as error:
        return None, [Finding(name, Level.FAIL, text, _where(text)) for text in error.errors]
    warnings = [Finding(name, Level.WARN, text) for text in settings.warnings]
    return settings, warnings or [Finding(name, Level.OK, source)]


def _where(error: str) -> str:
    """Return where to correct what is wrong, if the sentence does not say so itself."""
    variable = re.match(r"([A-Z_]+(?:, [A-Z_]+)*)[=:]", error)
    return f"{variable[1]} is set in the environment: correct it there" if variable else ""


def _user(name: str) -> Finding:
    try:
        account = serviceuser.account_of(name)
    except serviceuser.AccountError as error:
        why, _, fix = str(error).partition(": ")
        return Finding("user", Level.FAIL, why, fix)
    return Finding("user", Level.OK, f"{name}, uid {account.uid}")


def _state_dir(settings: Settings) -> Finding:
    """Check whether the service's user, who is not the user of this command, may write there."""
    path = settings.state_dir
    try:
        found = path.stat()
    except FileNotFoundError:
        return Finding("state", Level.WARN, f"{path} does not exist", "systemd makes it at start")
    except OSError as error:
        return Finding("state", Level.FAIL, f"{path}: {error.strerror}", "sudo tcp-trace check")
    if not stat.S_ISDIR(found.st_mode):
        return Finding("state", Level.FAIL, f"STATE_DIR={path} is no directory", "use another one")
    try:
        user = pwd.getpwnam(settings.service_user)
    except KeyError:
        detail = f"not known whether SERVICE_USER={settings.service_user} can write to {path}"
        return Finding("state", Level.WARN, detail, "make install, which makes the user")
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    bits = 0o003
    if found.st_uid == user.pw_uid:
        bits = 0o300
    elif found.st_gid in groups:
        bits = 0o030
    if found.st_mode & bits != bits:
        fix = f"chown {user.pw_name} {path}"
        return Finding("state", Level.FAIL, f"{user.pw_name} cannot write to {path}", fix)
    return Finding("state", Level.OK, str(path))


def _webhooks(settings: Settings) -> Iterator[Finding]:
    if settings.slack_url is not None:
        yield _reach(settings.slack_url)
    elif not settings.webhooks:
        fix = "set SLACK_URL"
        yield Finding("webhook", Level.WARN, "none: failures are logged, nobody is told", fix)
    for webhook in settings.webhooks:
        found = _reach(webhook.url, "its address")
        yield found._replace(detail=f"{webhook.name}: {found.detail}")


def _reach(webhook: Secret, setting: str = "SLACK_URL") -> Finding:
    """Ask the webhook's host for its front page, by the way the messages go.

    Any answer will do. The webhook's own path is not asked for: some servers take a GET for a
    message, and the fewer places a secret goes to the better.
    """
    try:
        from tcp_trace.delivery.transport import front_page  # noqa: PLC0415 - a third of a second
    except ImportError:
        fix = "apt install python3-requests"
        return Finding("webhook", Level.FAIL, "Python's requests is missing", fix)
    url = urlsplit(webhook.reveal())
    host = (url.hostname or "") + (f":{url.port}" if url.port else "")
    try:
        status = front_page(webhook.reveal()).status
    except TransportError as error:
        why, fix = _why_unreachable(error)
        fix = fix.replace("SLACK_URL", setting)
        return Finding("webhook", Level.FAIL, f"{host}: {why}", fix)
    detail = f"{host} answers (status {status})"
    return Finding("webhook", Level.OK, f"{detail}; 'tcp-trace test-alert' sends a message")


def _why_unreachable(error: TransportError) -> tuple[str, str]:
    """Return why and what to do."""
    causes = error.causes
    if "ProxyError" in causes:
        return "the proxy does not answer", "look at HTTPS_PROXY and NO_PROXY"
    if causes & {"SSLError", "CertificateError"}:
        return "TLS fails", "is the clock right? is ca-certificates installed? a proxy between?"
    if "gaierror" in causes:
        return "the name cannot be resolved", "look at /etc/resolv.conf and the name in SLACK_URL"
    if "ECONNREFUSED" in causes:
        return "connection refused", "look at host and port in SLACK_URL, and the firewall"
    if causes & {"Timeout", "ConnectTimeout"}:
        return "no answer in time", "let the firewall pass HTTPS, or set HTTPS_PROXY"
    return f"no connection ({error.reason})", "look at the network and the firewall"
