"""Programs at work whose descriptors systemd kept, and how they are known to be what they seem.

Who may write to systemd's socket may store descriptors under any name: the service itself, which
reads what strangers send. So nothing of it is believed but what the kernel says:

    a program   uses the gate, whose name is the digest of what it was made of and hangs on, or
                another map with one that does; only who has privileges can load a program, and
                give a map its name
    a link      keeps one of these programs attached; there is one for each attachment, so that
                none is missing
    a map       has its name and is used by one of these programs; two that none of them uses
                belong to the service alone, and their sizes are looked at

What was made of what stands in a sealed file beside them. It is believed as far as the digest goes.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.kernel import gate, objects
from tcp_trace.kernel.contract import Attached

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_FILE = "tcp-trace-kept"
_FILE_MOST = 64 * 1024
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_NOTE_MOST = 500

Sizes = dict[str, tuple[int, int]]
"""Bytes of key and value, by the name of a map."""


class NotTrustedError(Exception):
    """Descriptors are not what they seem; the text says in what."""


class Kept(NamedTuple):
    """A kernel program that outlives its service. `group` is its digest, and when it was made.

    `maps` are by probe and name, `own` those that only the privileged stage may use; `notes` are
    for the log, and untrusted. `shape` is the digest of the structs in its maps, so far as anybody
    knows.
    """

    group: str
    made_of: gate.Inputs
    attached: tuple[Attached, ...]
    maps: Mapping[str, Mapping[str, int]]
    own: Mapping[str, int]
    gate: int
    notes: Mapping[str, str]
    shape: str

    @property
    def digest(self) -> str:
        """What it is made of and hangs on, as its gate has it."""
        return self.group.partition("-")[0]

    def descriptors(self) -> dict[str, int]:
        """Return what is to be kept, by the names for it; without the file that says what it is."""
        fds = {"gate": self.gate}
        for probe, maps in self.maps.items():
            fds |= {f"map.{probe}.{name}": fd for name, fd in maps.items()}
        fds |= {f"own.{name}": fd for name, fd in self.own.items()}
        for number, each in enumerate(self.attached):
            fds[f"link.{number}"] = each.link
            if each.program >= 0:
                fds[f"program.{number}"] = each.program
        return {f"{self.group}.{name}": fd for name, fd in fds.items()}

    def names(self) -> list[str]:
        """Return the names under which it is kept."""
        return [*self.descriptors(), f"{self.group}.file"]

    def hooks(self) -> list[str]:
        """Return the names of what keeps it attached."""
        return [name for name in self.descriptors() if name.split(".")[1] in {"link", "program"}]

    def file(self) -> int:
        """Return a sealed file that says what it is."""
        fd = os.memfd_create(_FILE, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        told = {
            "made_of": self.made_of,
            "attached": [each.place for each in self.attached],
            "notes": dict(self.notes),
            "shape": self.shape,
        }
        os.write(fd, json.dumps(told).encode())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd


def groups(received: Mapping[str, list[int]]) -> dict[str, dict[str, list[int]]]:
    """Return descriptors by the group in their names, and by the rest of the name."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, fds in received.items():
        group, _, rest = name.partition(".")
        found.setdefault(group, {})[rest] = fds
    return found


def check(
    group: str, received: Mapping[str, list[int]], sizes: Sizes, unused: Collection[str]
) -> Kept:
    """Return the program that descriptors are of. `unused` are maps that no program uses.

    One that was let go is nowhere attached any more; of its maps there are only the sizes to know.

    Raises NotTrustedError.
    """
    try:
        return _check(group, received, sizes, unused)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotTrustedError(f"{type(error).__name__}: {error}") from error


def _check(
    group: str, received: Mapping[str, list[int]], sizes: Sizes, unused: Collection[str]
) -> Kept:
    if any(len(fds) != 1 for fds in received.values()):
        raise ValueError("there are two of a name")
    fds = {name: fd for name, (fd,) in received.items()}
    told = _told(fds.pop("file"))
    made_of = gate.Inputs(*told["made_of"])
    hangs_on = [
        Attached(str(probe), str(point), str(kind), str(target), -1, -1)
        for probe, point, kind, target in told["attached"]
    ]
    is_let_go = not any(name.startswith(("link.", "program.")) for name in fds)
    attached = tuple(
        each._replace(link=fds.pop(f"link.{n}"), program=fds.pop(f"program.{n}", -1))
        for n, each in enumerate(() if is_let_go else hangs_on)
    )
    found = Kept(
        group=group,
        made_of=made_of,
        attached=attached,
        maps=_by_probe(fds),
        own={name[4:]: fd for name, fd in fds.items() if name.startswith("own.")},
        gate=fds["gate"],
        notes={str(k)[:_NOTE_MOST]: str(v)[:_NOTE_MOST] for k, v in told["notes"].items()},
        shape=str(told["shape"]),
    )
    _check_sizes(found, sizes)
    if not is_let_go:
        _check_objects(found, unused)
    return found


def _by_probe(fds: Mapping[str, int]) -> dict[str, dict[str, int]]:
    maps: dict[str, dict[str, int]] = {}
    for name, fd in fds.items():
        kind, _, rest = name.partition(".")
        if kind == "map":
            probe, _, own = rest.partition(".")
            maps.setdefault(probe, {})[own] = fd
    return maps


def _told(fd: int) -> dict[str, Any]:
    """Return what the file says that came with descriptors: nothing of it is true as yet."""
    if objects.kind_of(fd) != f"memfd:{_FILE}":
        raise ValueError(f"the file is {objects.kind_of(fd)}")
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("the file is not sealed")
    if os.fstat(fd).st_size > _FILE_MOST:
        raise ValueError("the file is too large")
    told: dict[str, Any] = json.loads(os.pread(fd, _FILE_MOST, 0))
    return told


def _check_sizes(found: Kept, sizes: Sizes) -> None:
    for maps in found.maps.values():
        for name, fd in maps.items():
            info = objects.map_info(fd)
            size = (info.key_size, info.value_size)
            if sizes.get(name, size) != size:
                raise ValueError(f"the map {name} is of another size")


def _check_objects(found: Kept, unused: Collection[str]) -> None:
    if gate.digest(found.made_of, found.attached) != found.digest:
        raise ValueError("it is of something else")
    the_gate = objects.map_info(found.gate)
    if the_gate.name != gate.name_of(found.digest) or the_gate.value_size != gate.GATE.size:
        raise ValueError(f"the gate is {the_gate.name}")
    programs = [objects.program_of(each.link) for each in found.attached]
    used = _used_with(the_gate.id, programs)
    if len({program.id for program in programs}) != len(programs):
        raise ValueError("a link is there twice, and another one is missing")
    for each, program in zip(found.attached, programs, strict=True):
        if each.program >= 0 and objects.program_of(each.program).id != program.id:
            raise ValueError("a program is not that of its link")
    _check_maps(found, used, unused)


def _used_with(the_gate: int, programs: list[objects.ProgramInfo]) -> frozenset[int]:
    """Return the maps of programs that use the gate, or a map that one of these uses."""
    used = frozenset({the_gate})
    left = programs
    while ours := [each for each in left if each.maps & used]:
        used = used.union(*(each.maps for each in ours))
        left = [each for each in left if each not in ours]
    if left:
        raise ValueError(f"the program {left[0].name} is another one's")
    return used


def _check_maps(found: Kept, used: frozenset[int], unused: Collection[str]) -> None:
    for maps in (*found.maps.values(), found.own):
        for name, fd in maps.items():
            info = objects.map_info(fd)
            if info.name != name[: objects.NAME_MOST]:
                raise ValueError(f"the map {name} is {info.name}")
            if name not in unused and info.id not in used:
                raise ValueError(f"the map {name} is another one's")
