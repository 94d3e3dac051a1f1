"""Stage 1: compile, load and attach the kernel program, then become stage 2.

The only module that imports `bcc`. It runs with privileges, for seconds, and talks to nobody.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tcp_trace import resources
from tcp_trace.connects.watch import RULES_MAX
from tcp_trace.host import netns
from tcp_trace.host.serviceuser import name_of
from tcp_trace.kernel import btf, confinement, features, handover, headers, latency, proof
from tcp_trace.settings import environment, requirements
from tcp_trace.settings.config import Events, Hook, LostRaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.kernel.privileges import Account
    from tcp_trace.settings.config import Settings

# Bounds of the kernel's maps. An attempt has an entry until it is established or fails; with
# EVENTS=all until its connection is closed. All are allocated at once: 90 bytes an attempt, 230 a
# destination, 2,050 a cgroup.
_ATTEMPTS = 16_384
_ATTEMPTS_ALL = 65_536
_DESTINATIONS = 8_192
_CGROUPS = 1_024
# Twice what a configuration may have: a reload adds the new rules before it removes the old ones.
_WATCH_MAX = 2 * RULES_MAX

# Ports that processes connect to, at one moment: 390 bytes each.
_RACES = 4_096

# What a user's failures may take before they are counted and no longer told one by one.
_BURST, _PER_SECOND = 4_000, 20
# Users and owners of cgroups that have failures, and what is counted of them beyond that: kinds of
# failure within two seconds, 250 bytes each.
_BUDGETS = 4_096
_HELD = 4_096

# Addresses with the names they were asked for by: 240 bytes each.
_NAMES = 8_192

# Destinations whose latency is kept, if any: 350 bytes each. Those used last stay.
_LATENCIES = 4_096

_MEGABYTE = 1024 * 1024

# Threads that are in a connect() that fails, at one moment.
_ENDS = 1_024

_KPROBE = b"kprobe_tcp_set_state"
_TRACEPOINT = b"tracepoint_inet_sock_set_state"
# Functions that have the same arguments: what is compiled for the first is loaded for the second,
# too, which takes no time to compile.
_TWINS = {b"tcp_v4_connect": b"tcp_v6_connect", b"inet_recvmsg": b"inet6_recvmsg"}

_SET_STATE = b"inet_sock_set_state"

_KPROBE_NOT_RUN = (
    "the kprobe on tcp_set_state is placed but not run; write 1 to"
    " /sys/kernel/debug/kprobes/enabled and set kernel.ftrace_enabled=1"
)
_TRACEPOINT_NOT_RUN = (
    "the program on the tracepoint sock:inet_sock_set_state does not see a connect; "
    "use another kernel, or leave the sandbox"
)

# Compiling is most of the start. The kernel needs no types of ours; and what clang would optimise
# BCC optimises once more, and all of it: the code is the same without the first time.
_LESS_WORK = ("-g0", "-Xclang", "-disable-llvm-passes")

_EVENTS = {Events.FAILURES: "EVENTS_FAILURES", Events.ATTEMPTS: "EVENTS_ATTEMPTS"}
_MAPS = (
    *("destinations", "cgroups", "watched", "tallies", "races", "held", "execs"),
    "transitions",
)
_NAME_FILES = ("names.c", "answers.c", "hearing.c")
_NAME_MAPS = ("names", "name_marks", "name_servers")


class StartError(Exception):
    """The service cannot start on this host; the text says why and what to do."""


class _Layout(NamedTuple):
    """Where the fields are, for the compiler: from the kernel's `source`, "btf" or "headers".

    `connect` is the number of `features.CONNECT` in the kernel's type information.
    """

    cflags: list[str]
    source: str
    connect: int | None = None


class _Watching(NamedTuple):
    """The program at work.

    `parts` are those that watch functions returning. `fallback` says why the kprobe was not taken
    where it was not, `unproven` why the hook could not be seen at work.
    """

    bpf: Any
    parts: frozenset[str]
    hook: Hook
    hook_fd: int
    fallback: str | None = None
    unproven: str | None = None


def start(settings: Settings, account: Account) -> NoReturn:
    """Attach the hook that this kernel allows and become the unprivileged stage 2.

    Raises StartError with the reason and the remedy.
    """
    environment.restrict()
    closed = handover.unreadable(account, resources.directory("tcp_trace"))
    if closed is not None:
        raise StartError(
            f"the service goes on as user {name_of(account.uid)}, who may not enter {closed}: "
            "install it with 'make install', or put the checkout elsewhere"
        )
    if missing := list(requirements.missing()):
        raise StartError("; ".join(map(str, missing)))
    layout = _layout()
    _require_privileges()
    _import_bcc()
    constants = _constants(settings, account)
    bpf, parts, hook, hook_fd, fallback, unproven = _watch(layout, constants, settings)
    hook_fds = [hook_fd, _attach_tracepoint(bpf, b"net_inet_sock_set_state")]
    hook_fds.append(_attach_tracepoint(bpf, b"exec_sched_process_exec", b"sched_process_exec"))
    hook_fds += _attach_error_report(bpf)
    facts: dict[str, str | bool | int] = {
        "kernel": platform.release(),
        "layout": layout.source,
    }
    if fallback:
        facts["fallback"] = fallback
    if unproven:
        facts["unproven"] = unproven
    facts.update(_unwatched_returns(parts, names=settings.dns_names))
    facts["seccomp"] = _confine()
    maps = [*_MAPS, *_NAME_MAPS * ("NAMES" in parts), *_latency_maps(settings)]
    handover.execute(
        handover.Handover(
            hook=hook.value,
            hook_fds=(*hook_fds, *bpf.kfunc_exit_fds.values()),
            return_fds=tuple(f.fd for n, f in bpf.funcs.items() if n.endswith(b"_connect")),
            ring_bytes=settings.ring_mb * _MEGABYTE,
            maps={name: bpf[name].get_fd() for name in maps},
            facts=facts,
        ),
        account,
    )


def _confine() -> bool:
    try:
        return confinement.forbid()
    except confinement.ConfinementError as error:
        raise StartError(str(error)) from None


def _require_privileges() -> None:
    if not features.may_load_programs():
        raise StartError(
            "loading a kernel program takes root (or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN): "
            "use sudo, or start the service by systemctl"
        )


def _layout() -> _Layout:
    try:
        types = btf.read([features.CONNECT])
    except btf.BtfError as error:
        return _layout_from_headers(error)
    cflags = [f"-D{name}={value}" for name, value in types.offsets.items()]
    typed = ["-DTYPED_TASK"] * features.has_typed_task()
    return _Layout([*cflags, *typed], "btf", types.functions[features.CONNECT])


def _layout_from_headers(error: btf.BtfError) -> _Layout:
    try:
        headers.require()
    except headers.HeadersMissing as missing:
        raise StartError(f"{error}; {missing}") from None
    return _Layout(["-DLAYOUT_FROM_HEADERS"], "headers")


def _constants(settings: Settings, account: Account) -> list[str]:
    attempts = _ATTEMPTS_ALL if settings.events is Events.ALL else _ATTEMPTS
    return [
        f"-DEVENTS={_EVENTS.get(settings.events, 'EVENTS_ALL')}",
        f"-DATTEMPTS_MAX={attempts}",
        f"-DDESTINATIONS_MAX={_DESTINATIONS}",
        f"-DCGROUPS_MAX={_CGROUPS}",
        f"-DWATCH_MAX={_WATCH_MAX}",
        f"-DRACES_MAX={_RACES}",
        f"-DENDS_MAX={_ENDS}",
        f"-DNAMES_MAX={_NAMES}",
        f"-DBUDGET_BURST={_BURST}",
        f"-DBUDGET_PER_SECOND={_PER_SECOND}",
        f"-DBUDGETS_MAX={_BUDGETS}",
        f"-DHELD_MAX={_HELD}",
        f"-DRING_BYTES={settings.ring_mb * _MEGABYTE}",
        # The exec keeps the PID, so stage 2 will have this one.
        f"-DSELF_PID={os.getpid()}",
        f"-DSELF_UID={account.uid}",
        f"-DOWN_NETNS={netns.own()}",
        f"-DLOST_RACES={int(settings.lost_races is LostRaces.IGNORE)}",
        *["-DLATENCY"] * (settings.metrics is not None),
        f"-DLATENCIES_MAX={_LATENCIES if settings.metrics_destinations else 0}",
    ]


def _latency_maps(settings: Settings) -> list[str]:
    if settings.metrics is None:
        return []
    return [latency.OVERALL, *[latency.EACH] * (settings.metrics_destinations > 0)]


def _import_bcc() -> Any:  # noqa: ANN401 - bcc has no types
    try:
        import bcc  # noqa: PLC0415 - 70 MB that only this function's caller wants
    except ImportError:
        raise StartError(
            f"{sys.executable} has no BCC; install the package python3-bpfcc "
            "and use the distribution's /usr/bin/python3"
        ) from None
    return bcc


def _watch(layout: _Layout, constants: list[str], settings: Settings) -> _Watching:
    """Load the program with the wanted hook, and attach that."""
    wanted, names, why = settings.hook, settings.dns_names, None
    if wanted is not Hook.TRACEPOINT:
        bpf, parts = _load(layout, [*constants, "-DHOOK_KPROBE"], names=names)
        try:
            fd = _attach_kprobe(bpf, _KPROBE)
            unproven = _prove(bpf, _KPROBE_NOT_RUN)
            return _Watching(bpf, parts, Hook.KPROBE, fd, unproven=unproven)
        except StartError as error:
            if wanted is Hook.KPROBE:
                raise StartError(f"HOOK=kprobe: {error}; use HOOK=auto") from error
            why = str(error)
        bpf.cleanup()
    bpf, parts = _load(layout, constants, names=names)
    fd = _attach_tracepoint(bpf, _TRACEPOINT)
    unproven = _prove(bpf, f"{why}; {_TRACEPOINT_NOT_RUN}" if why else _TRACEPOINT_NOT_RUN)
    return _Watching(bpf, parts, Hook.TRACEPOINT, fd, why, unproven)


def _prove(bpf: Any, not_run: str) -> str | None:  # noqa: ANN401
    """Raise StartError(not_run) where the hook, to which there is no net yet, is not run.

    Return why that cannot be known, None where it is run.
    """
    try:
        is_run = proof.is_run({name: bpf[name].get_fd() for name in ("watched", "tallies")})
    except OSError as error:
        return f"the hook was not seen at work: no connect to 127.0.0.1 ({error.strerror})"
    if not is_run:
        raise StartError(not_run)
    bpf["tallies"].zero()
    return None


def _load(layout: _Layout, constants: list[str], *, names: bool) -> tuple[Any, frozenset[str]]:
    """Return the program, and which of its parts that watch functions returning are in it.

    Those parts are loaded and attached with the rest, since their functions are named for BCC to
    do so. Whether a kernel takes them shows only when it is tried.
    """
    parts = frozenset({"RETURNS", "NAMES"} if names else {"RETURNS"})
    if features.can_watch_returning(layout.connect, by_attaching=False):
        for tried in dict.fromkeys((parts, parts - {"NAMES"})):
            # BCC raises nothing narrower, and says no reason.
            with contextlib.suppress(Exception):
                bpf = _compile(layout, constants, tried)
                _attach_twins(bpf)
                return bpf, tried
    try:
        return _compile(layout, constants, frozenset()), frozenset()
    except Exception as error:  # BCC raises nothing narrower
        raise StartError(
            f"the kernel program cannot be compiled or its maps not be made ({error}); "
            "run 'tcp-trace check' and see the lines above"
        ) from error


def _compile(layout: _Layout, constants: list[str], parts: frozenset[str]) -> Any:  # noqa: ANN401
    bcc = _import_bcc()
    source = resources.directory("bpf")
    files = ["tcp_trace.c", *_NAME_FILES * ("NAMES" in parts)]
    # BCC rewrites what is in one file only, and a second program would cost a second compile.
    text = "".join(f'#line 1 "{file}"\n{(source / file).read_text()}' for file in files)
    _choose_tree(layout)
    return bcc.BPF(
        text=text,
        cflags=[
            *_LESS_WORK,
            "-I",
            str(source),
            *layout.cflags,
            *constants,
            *(f"-D{part}" for part in parts),
        ],
    )


def _choose_tree(layout: _Layout) -> None:
    """Let BCC include our own few headers, or else the kernel's where it finds them by itself.

    The compiler's working directory is the tree, and clang also looks into `../lib`.
    """
    if layout.source == "btf":
        os.environ["BCC_KERNEL_SOURCE"] = str(resources.directory("bpf") / "kernel")
    else:
        os.environ.pop("BCC_KERNEL_SOURCE", None)


def _attach_twins(bpf: Any) -> None:  # noqa: ANN401
    """Load and attach the programs of `_TWINS` as BCC did those that it has names for."""
    bcc = _import_bcc()
    lib, module = bcc.lib, bpf.module
    for name in list(bpf.funcs):
        # kretfunc__tcp_v4_connect, and kretfunc__vmlinux__tcp_v4_connect of newer versions.
        kind, _, function = name.rpartition(b"__")
        twin = kind + b"__" + _TWINS[function]
        fd = lib.bcc_func_load(
            *(module, bcc.BPF.TRACING, twin),
            *(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name)),
            *(lib.bpf_module_license(module), lib.bpf_module_kern_version(module)),
            *(0, None, 0, None, -1),
        )
        link = lib.bpf_attach_kfunc(fd) if fd >= 0 else fd
        if link < 0:
            raise OSError(f"{twin.decode()} cannot be attached")
        bpf.funcs[twin] = bcc.BPF.Function(bpf, twin, fd)
        bpf.kfunc_exit_fds[twin] = link


def _unwatched_returns(parts: frozenset[str], *, names: bool) -> Iterator[tuple[str, str]]:
    """Say for the log what cannot be known where functions cannot be watched returning."""
    why = "this kernel lets no BPF program watch {} returning (BPF trampolines)"
    if "RETURNS" not in parts:
        yield "no_returns", why.format("connect()")
    if names and "NAMES" not in parts:
        yield "no_names", why.format("recvmsg()")


def _attach_kprobe(bpf: Any, name: bytes, event: bytes = b"tcp_set_state") -> int:  # noqa: ANN401
    try:
        bpf.attach_kprobe(event=event, fn_name=name)
    except Exception as error:  # BCC raises nothing narrower
        raise StartError(f"the kprobe on {event.decode()} cannot be placed: {error}") from error
    (fd,) = (fds[name] for fds in bpf.kprobe_fds.values() if name in fds)
    return int(fd)


def _attach_tracepoint(bpf: Any, name: bytes, event: bytes = _SET_STATE) -> int:  # noqa: ANN401
    # Not BPF.attach_raw_tracepoint(): it allows one program per tracepoint, and there are two.
    bcc = _import_bcc()
    try:
        function = bpf.load_func(name, bcc.BPF.RAW_TRACEPOINT)
        fd = bcc.lib.bpf_attach_raw_tracepoint(function.fd, event)
    except Exception as error:  # BCC raises nothing narrower
        raise StartError(f"{name.decode()} cannot be loaded: {error}") from error
    if fd < 0:
        raise StartError(f"this kernel has no tracepoint {event.decode()}")
    return int(fd)


def _attach_error_report(bpf: Any) -> list[int]:  # noqa: ANN401
    """Return the descriptor of what tells of errors: a tracepoint, before Linux 5.14 a kprobe."""
    try:
        return [_attach_tracepoint(bpf, b"error_inet_sk_error_report", b"inet_sk_error_report")]
    except StartError:
        with contextlib.suppress(StartError):
            return [_attach_kprobe(bpf, b"error_sock_def_error_report", b"sock_def_error_report")]
    return []
