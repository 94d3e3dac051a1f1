"""From the privileged stage 1 to the unprivileged stage 2: one exec, the same PID.

The descriptors of maps and hooks are made inheritable and described in a memfd, whose
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
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tcp_trace import resources
from tcp_trace.kernel.privileges import CAP_BPF, Account, become
from tcp_trace.settings import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLAG = "--handover"


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What stage 2 needs of stage 1.

    `maps` are the descriptors of the BPF maps by name; that of `transitions` is a ring with
    `ring_bytes` for records. `hook_fds` keep the programs attached. `return_fds` are the programs
    that watch connect() returning, of which the kernel counts what it missed. `facts` are logged by
    stage 2.
    """

    hook: str
    hook_fds: tuple[int, ...]
    return_fds: tuple[int, ...]
    ring_bytes: int
    maps: Mapping[str, int]
    facts: Mapping[str, str | bool | int]

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that must outlive the exec."""
        return (*self.hook_fds, *self.return_fds, *self.maps.values())


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
        uid, gid, groups = given
        become(Account(uid, gid, tuple(groups)), CAP_BPF if _maps_need_a_capability() else 0)


def receive(memfd: int) -> Handover:
    """Read in stage 2 what `execute` wrote, and close the memfd."""
    told = _told(memfd)
    os.close(memfd)
    handover = Handover(
        hook=told["hook"],
        hook_fds=tuple(told["hook_fds"]),
        return_fds=tuple(told["return_fds"]),
        ring_bytes=told["ring_bytes"],
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
