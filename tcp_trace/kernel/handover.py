"""From the privileged stage 1 to the unprivileged stage 2: one exec, the same PID.

The descriptors of perf rings, maps and hook are made inheritable and described in a memfd, whose
number goes along as `--handover FD` behind the very command line that started stage 1. `setpriv`
of util-linux drops what stage 1 needed: the user, the groups, every capability.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLAG = "--handover"


class Account(NamedTuple):
    """Whom stage 2 runs as."""

    name: str
    uid: int


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
    """Return whom stage 2 runs as: `name` when started as root, else whoever started it.

    Where the user `name` does not exist it is `nobody`, who owns nothing either.
    """
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid())
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid)


def unreadable(account: Account, program: Path) -> Path | None:
    """Return the directory on the way to `program` that the account may not enter, if any.

    Only what everybody may do is asked: a program in root's home is not for a service.
    """
    if account.uid == os.geteuid():
        return None
    closed = [path for path in program.parents if not path.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def execute(handover: Handover, account: Account) -> NoReturn:
    """Become stage 2."""
    memfd = os.memfd_create("tcp-trace-handover", 0)
    os.write(memfd, json.dumps(asdict(handover)).encode())
    for fd in handover.fds:
        os.set_inheritable(fd, True)  # noqa: FBT003 - the signature is the standard library's
    # The threads that send wait for each other anyway: a heap for each would be 1 MB for nothing.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    command = [*_setpriv(account), *sys.orig_argv, FLAG, str(memfd)]
    os.execvp(command[0], command)  # noqa: S606 - that no shell is started is the point


def receive(memfd: int) -> Handover:
    """Read in stage 2 what `execute` wrote, and close the memfd."""
    os.lseek(memfd, 0, os.SEEK_SET)
    with os.fdopen(memfd) as file:
        told: dict[str, Any] = json.load(file)
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


def _setpriv(account: Account) -> list[str]:
    kept = "-all,+bpf" if _maps_need_a_capability() else "-all"
    command = ["setpriv", "--no-new-privs", f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    if os.geteuid() == 0:
        command.append(f"--bounding-set={kept}")
        command += [f"--reuid={account.uid}", f"--regid={pwd.getpwuid(account.uid).pw_gid}"]
        command.append("--init-groups")
    return command


def _maps_need_a_capability() -> bool:
    """Tell whether using a map by its descriptor takes CAP_BPF.

    It did before commit c8644cd0efe7 ("bpf: refine kernel.unprivileged_bpf_disabled behaviour",
    in v6.0). The version is asked because the privileged stage cannot try it out; a kernel with
    the commit backported keeps a capability it would not need.
    """
    major = re.match(r"\d+", os.uname().release)
    return major is not None and int(major[0]) < 6
