"""Attached programs whose descriptors systemd kept, and how they are verified.

Any process that may write to systemd's socket can store descriptors under any name. The service
itself is one, and it parses untrusted data. So only what the kernel reports is believed:

    a program   uses the gate, or a map that such a program uses; the gate's name is the digest of
                the program's inputs and hooks; loading a program and naming its maps takes
                privileges
    a link      keeps one of these programs attached; there is one for each attachment, so that
                none is missing
    a map       has its name and is used by one of these programs; two are used by none of them and
                belong to the service alone: only their sizes are checked

A sealed file beside them has the inputs. It is believed only as far as the digest covers it.
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
    """Descriptors are not what their names say; the text says why."""


class Kept(NamedTuple):
    """A kernel program that outlives its service. `group` is its digest and creation time.

    `maps` are by probe and name; `own` are those that only the privileged stage may use; `notes`
    are for the log, and untrusted. `shape` is the digest of the structs in its maps, as the sealed
    file has it.
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
        """The digest of its inputs and hooks, as in its gate's name."""
        return self.group.partition("-")[0]

    def descriptors(self) -> dict[str, int]:
        """Return the descriptors to keep, by name; without the sealed file."""
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
        """Return the names under which systemd keeps it."""
        return [*self.descriptors(), f"{self.group}.file"]

    def hooks(self) -> list[str]:
        """Return the names of the descriptors that keep it attached."""
        return [name for name in self.descriptors() if name.split(".")[1] in {"link", "program"}]

    def file(self) -> int:
        """Return the descriptor of a sealed file with its inputs, hooks, notes and shape."""
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
    """Return descriptors by the group in their names, then by the rest of the name."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, fds in received.items():
        group, _, rest = name.partition(".")
        found.setdefault(group, {})[rest] = fds
    return found


def check(
    group: str, received: Mapping[str, list[int]], sizes: Sizes, unused: Collection[str]
) -> Kept:
    """Return the program of these descriptors. `unused` are maps that no program uses.

    A replaced program is attached nowhere any more; of its maps only the sizes can be checked.

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
        raise ValueError("two descriptors have the same name")
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
    """Return the content of the sealed file that came with descriptors: still untrusted."""
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
                raise ValueError(f"the map {name} has another size")


def _check_objects(found: Kept, unused: Collection[str]) -> None:
    if gate.digest(found.made_of, found.attached) != found.digest:
        raise ValueError("the digest is that of other inputs or hooks")
    the_gate = objects.map_info(found.gate)
    if the_gate.name != gate.name_of(found.digest) or the_gate.value_size != gate.GATE.size:
        raise ValueError(f"the gate is the map {the_gate.name}")
    programs = [objects.program_of(each.link) for each in found.attached]
    used = _used_with(the_gate.id, programs)
    if len({program.id for program in programs}) != len(programs):
        raise ValueError("two links lead to one program, and another link is missing")
    for each, program in zip(found.attached, programs, strict=True):
        if each.program >= 0 and objects.program_of(each.program).id != program.id:
            raise ValueError("a program and its link do not belong together")
    _check_maps(found, used, unused)


def _used_with(the_gate: int, programs: list[objects.ProgramInfo]) -> frozenset[int]:
    """Return all maps of the programs; each must use the gate, or a map of one that does."""
    used = frozenset({the_gate})
    left = programs
    while ours := [each for each in left if each.maps & used]:
        used = used.union(*(each.maps for each in ours))
        left = [each for each in left if each not in ours]
    if left:
        raise ValueError(f"the program {left[0].name} does not use the gate")
    return used


def _check_maps(found: Kept, used: frozenset[int], unused: Collection[str]) -> None:
    for maps in (*found.maps.values(), found.own):
        for name, fd in maps.items():
            info = objects.map_info(fd)
            if info.name != name[: objects.NAME_MOST]:
                raise ValueError(f"the map {name} has the name {info.name}")
            if name not in unused and info.id not in used:
                raise ValueError(f"no program uses the map {name}")
