"""From the privileged stage 1 to the unprivileged stage 2: one exec, the same PID.

The descriptors of perf rings, maps and hook are made inheritable and described in a memfd, whose
number goes along as `--handover FD` behind the arguments of stage 1. Of the environment only what
is listed goes along, of descriptors only these and the standard ones.

The first thing that stage 2 does is `drop_privileges`. That is not left to a program in between,
as setpriv is: until its exec of Python had set up everything, a process of the same user could
look into it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tcp_trace import environment, resources
from tcp_trace.kernel.privileges import CAP_BPF, Account, become

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLAG = "--handover"

_OVERFLOW_UID = 65534
"""That of `nobody`, and of whoever has no user in a namespace."""


class AccountError(Exception):
    """Stage 2 can run as nobody; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What stage 2 needs of stage 1.

    `rings` are the descriptors of the perf rings of each CPU with `pages` pages, `maps` those of
    the BPF maps by name, `hook_fds` keep the programs attached. `return_fds` are the programs that
    watch connect() returning, of which the kernel counts what it missed. `facts` are logged by
    stage 2.
    """

    hook: str
    hook_fds: tuple[int, ...]
    return_fds: tuple[int, ...]
    rings: tuple[int, ...]
    pages: int
    maps: Mapping[str, int]
    facts: Mapping[str, str | bool | int]

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that must outlive the exec."""
        return (*self.hook_fds, *self.return_fds, *self.rings, *self.maps.values())


def service_account(name: str) -> Account:
    """Return whom stage 2 runs as: the user `name` when started as root, else whoever started it.

    Raises AccountError where that is root, or nobody, whose processes are others', too: they
    would read the webhook from its memory, and take its maps.
    """
    return account_of(name) if os.geteuid() == 0 else _own_account()


def account_of(name: str) -> Account:
    """Return the user `name`. Raises AccountError where stage 2 may not be that one."""
    remedy = "set SERVICE_USER to a user of the service's own"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise AccountError(
            f"SERVICE_USER={name} does not exist: 'make install' makes it, and so does "
            f"'useradd --system --user-group --shell /usr/sbin/nologin {name}'"
        ) from None
    if entry.pw_uid == 0:
        raise AccountError(f"SERVICE_USER={name} is root, who keeps every privilege: {remedy}")
    if entry.pw_uid == _OVERFLOW_UID or name == "nobody":
        raise AccountError(
            f"SERVICE_USER={name} is what others run as, too, and they could read the webhook: "
            f"{remedy}, such as 'useradd --system --user-group --shell /usr/sbin/nologin tcp-trace'"
            " makes"
        )
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups))


def name_of(uid: int) -> str:
    """Return the name of a user, the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _own_account() -> Account:
    return Account(name_of(os.geteuid()), os.geteuid(), os.getegid(), tuple(os.getgroups()))


def unreadable(account: Account, program: Path) -> Path | None:
    """Return the directory on the way to `program` that the account may not enter, if any.

    Only what everybody may do is asked: a program in root's home is not for a service.
    """
    if account.uid == os.geteuid():
        return None
    closed = [path for path in program.parents if not path.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def execute(handover: Handover, account: Account) -> NoReturn:
    """Become stage 2, which is still to give up what this process may do."""
    memfd = os.memfd_create("tcp-trace-handover", 0)
    told = {**asdict(handover), "account": account}
    os.write(memfd, json.dumps(told).encode())
    _let_only_these_through({*handover.fds, memfd})
    program = resources.directory("tcp_trace") / "__main__.py"
    command = [sys.executable, "-I", str(program), *sys.argv[1:], FLAG, str(memfd)]
    os.execve(command[0], command, environment.allowed(os.environ))  # noqa: S606


def drop_privileges(memfd: int) -> None:
    """Become, in stage 2, the account that stage 1 chose, and nothing else. Raises OSError."""
    given = _told(memfd).get("account")
    if given is not None:
        name, uid, gid, groups = given
        kept = CAP_BPF if _maps_need_a_capability() else 0
        become(Account(name, uid, gid, tuple(groups)), kept)


def receive(memfd: int) -> Handover:
    """Read in stage 2 what `execute` wrote, and close the memfd."""
    told = _told(memfd)
    os.close(memfd)
    handover = Handover(
        hook=told["hook"],
        hook_fds=tuple(told["hook_fds"]),
        return_fds=tuple(told["return_fds"]),
        rings=tuple(told["rings"]),
        pages=told["pages"],
        maps=told["maps"],
        facts=told["facts"],
    )
    for fd in handover.fds:
        os.set_inheritable(fd, False)  # noqa: FBT003 - the signature is the standard library's
    return handover


def _told(memfd: int) -> dict[str, Any]:
    with os.fdopen(os.dup(memfd)) as file:
        file.seek(0)
        told: dict[str, Any] = json.load(file)
    return told


def _let_only_these_through(fds: set[int]) -> None:
    """Let no other descriptors but these and the standard ones outlive the exec."""
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - numbers
        if fd > 2:
            # The one of this directory is closed by now.
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, fd in fds)


def _maps_need_a_capability() -> bool:
    """Tell whether using a map by its descriptor takes CAP_BPF.

    It did before commit c8644cd0efe7 ("bpf: refine kernel.unprivileged_bpf_disabled behaviour",
    in v6.0). The version is asked because the privileged stage cannot try it out; a kernel with
    the commit backported keeps a capability it would not need.
    """
    major = re.match(r"\d+", os.uname().release)
    return major is not None and int(major[0]) < 6
