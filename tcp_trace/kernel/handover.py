"""From the privileged stage 1 to the unprivileged stage 2: one exec, the same PID.

The descriptors of maps and programs are made inheritable and described in a memfd, whose number is
passed as `--handover FD` after the arguments of stage 1. No other descriptors are inherited, except
the standard ones.

Stage 2 first calls `drop_privileges`. A wrapper such as setpriv would not do: until its exec of
Python was set up, a process of the same user could look into it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tcp_trace import resources
from tcp_trace.kernel.contract import Attached
from tcp_trace.kernel.privileges import CAP_BPF, Account, become

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLAG = "--handover"


class Former(NamedTuple):
    """The unread maps of a replaced program, by probe and name.

    systemd keeps them under `names` until they are read in full.
    """

    maps: Mapping[str, Mapping[str, int]]
    ring_bytes: int
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What stage 1 hands to stage 2.

    `attached` are the attached programs; `maps` the descriptors of maps, by probe and map name. A
    ring among them has `ring_bytes` for records. `facts` are logged by stage 2. `former` are the
    programs that this one replaced.
    """

    attached: tuple[Attached, ...]
    maps: Mapping[str, Mapping[str, int]]
    ring_bytes: int
    facts: Mapping[str, str | bool | int]
    former: tuple[Former, ...] = ()

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that must outlive the exec."""
        links = (fd for one in self.attached for fd in (one.link, one.program) if fd >= 0)
        every = (self.maps, *(each.maps for each in self.former))
        return (*links, *(fd for maps in every for each in maps.values() for fd in each.values()))

    def maps_of(self, probe: str) -> Mapping[str, int]:
        """Return the maps of a probe, none if it is not attached."""
        return self.maps.get(probe, {})

    def kind_of(self, probe: str, point: str) -> str:
        """Return the kind of hook of a point, "none" for no hook."""
        kinds = (one.kind for one in self.attached if (one.probe, one.point) == (probe, point))
        return next(kinds, "none")

    def programs_of(self, probe: str) -> list[int]:
        """Return those programs of a probe whose missed runs the kernel counts."""
        return [one.program for one in self.attached if one.probe == probe and one.program >= 0]


def unreadable(account: Account, program: Path) -> Path | None:
    """Return the topmost parent of `program` that the account may not enter, None for none.

    Only the permissions for others count: a program in root's home is not for a service.
    """
    if account.uid == os.geteuid():
        return None
    closed = [path for path in program.parents if not path.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def execute(handover: Handover, account: Account, environ: Mapping[str, str]) -> NoReturn:
    """Become stage 2, which then has to drop the privileges."""
    memfd = os.memfd_create("tcp-trace-handover", 0)
    told = {**asdict(handover), "account": account}
    os.write(memfd, json.dumps(told).encode())
    _let_only_these_through({*handover.fds, memfd})
    program = resources.directory("tcp_trace") / "__main__.py"
    command = [sys.executable, "-I", str(program), *sys.argv[1:], FLAG, str(memfd)]
    os.execve(command[0], command, environ)  # noqa: S606


def drop_privileges(memfd: int) -> None:
    """Become, in stage 2, the account that stage 1 chose, and no other. Raises OSError."""
    given = _told(memfd).get("account")
    if given is not None:
        uid, gid, groups = given
        become(Account(uid, gid, tuple(groups)), CAP_BPF if _maps_need_a_capability() else 0)


def receive(memfd: int) -> Handover:
    """Read in stage 2 what `execute` wrote, and close the memfd."""
    told = _told(memfd)
    os.close(memfd)
    handover = Handover(
        attached=tuple(Attached(*one) for one in told["attached"]),
        maps=told["maps"],
        ring_bytes=told["ring_bytes"],
        facts=told["facts"],
        former=tuple(Former(*each) for each in told["former"]),
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
    """Let only these descriptors and the standard ones outlive the exec."""
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - numbers
        if fd > 2:
            # The descriptor of this listing is closed by now.
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, fd in fds)


def _maps_need_a_capability() -> bool:
    """Return whether using a map by its descriptor takes CAP_BPF.

    It did before commit c8644cd0efe7 ("bpf: refine kernel.unprivileged_bpf_disabled behaviour", in
    v6.0). The version decides because the privileged stage cannot try it; with the commit
    backported, a capability is kept without need.
    """
    major = re.match(r"\d+", os.uname().release)
    return major is not None and int(major[0]) < 6
