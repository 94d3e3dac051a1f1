"""Stage 1 under systemd: the program that is at work goes on, or gives over to another one.

systemd keeps the descriptors while the service is down (`kernel/fdstore.py`). What is kept is taken
over where it is what would be compiled now; else the new program is compiled and attached, and
takes over from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel import gate, maps, objects
from tcp_trace.kernel.handover import Former
from tcp_trace.kernel.kept import Kept, NotTrustedError, Sizes, check, groups
from tcp_trace.kernel.shapes import Shape
from tcp_trace.kernel.takeover import take_over
from tcp_trace.probes import shapes
from tcp_trace.probes.connect import CONNECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcp_trace.kernel.fdstore import Store
    from tcp_trace.kernel.loader import Loaded

OWN = ("attempts", "cells", "crossed")
"""Maps of `connect` that only stage 1 may use: they have the addresses of sockets."""

# The beginning of struct cell: claims skaddr; struct attempt follows.
_CELL = struct.Struct("=QQ")
_ONLY = shapes.NUMBER.pack(0)

_UNUSED = ("carried", "progress")
# What stage 2 reads of them, in bytes of key and value.
_SIZES: Sizes = {
    name: (key.size, value)
    for name, key, value in (
        ("destinations", shapes.DESTINATION, shapes.COUNTERS.size),
        ("cgroups", shapes.LONG, shapes.CGROUP_PATH.size),
        ("watched", shapes.WATCH_KEY, 1),
        ("tallies", shapes.NUMBER, shapes.LONG.size),
        ("races", shapes.RACER, shapes.RIVAL.size * shapes.RIVALS),
        ("held", shapes.HELD_KEY, shapes.HELD.size),
        ("execs", shapes.NUMBER, shapes.LONG.size),
        ("carried", shapes.LONG, shapes.HELD.size),
        ("progress", shapes.NUMBER, shapes.PROGRESS.size),
        ("names", shapes.NAME_KEY, shapes.NAME.size),
        ("name_marks", shapes.NUMBER, shapes.LONG.size),
        ("name_servers", shapes.NAME_SERVER, 1),
    )
}
_SHAPE = hashlib.sha256(
    repr([(s.name, s.fields) for s in vars(shapes).values() if isinstance(s, Shape)]).encode()
).hexdigest()


class Found(NamedTuple):
    """What systemd kept, and in words what of it is not trusted."""

    kept: list[Kept]
    refused: str = ""

    def of(self, made_of: gate.Inputs) -> Kept | None:
        """Return the program that is made of this."""
        return next((k for k in self.kept if k.attached and k.made_of == made_of), None)

    def why_not(self, made_of: gate.Inputs) -> str:
        """Say why what was kept is not what is wanted; empty where nothing was kept."""
        reasons = [each.made_of.differ_in(made_of) for each in self.kept[-1:]]
        if any(each.shape != _SHAPE for each in self.kept):
            reasons.append("its records have another shape: what was unread is lost")
        return "; ".join(filter(None, [*reasons, self.refused]))


def find(received: Mapping[str, list[int]], store: Store) -> Found:
    """Check the descriptors that systemd kept; what is not trusted it is to let go."""
    kept: list[Kept] = []
    refused: list[str] = []
    for group, fds in groups(received).items():
        try:
            kept.append(check(group, fds, _SIZES, _UNUSED))
        except NotTrustedError as error:
            refused.append(f"kept descriptors are not trusted: {error}")
            store.let_go(f"{group}.{name}" if name else group for name in fds)
            _close(fd for of_a_name in fds.values() for fd in of_a_name)
    return Found(kept, "; ".join(refused))


def keep(loaded: Loaded, notes: Mapping[str, str], store: Store) -> Kept:
    """Let systemd keep a program that was just loaded. Where it does not, a note says why."""
    made = Kept(
        group=f"{loaded.digest}-{time.monotonic_ns():x}",
        made_of=loaded.made_of,
        attached=loaded.attached,
        maps=loaded.maps,
        own={name: loaded.module.map_fd(name) for name in OWN},
        gate=loaded.gate,
        notes=notes,
        shape=_SHAPE,
    )
    try:
        store.keep({**made.descriptors(), f"{made.group}.file": made.file()})
    except OSError as error:
        # What started the service may have told of a socket that leads nowhere.
        return made._replace(notes={**notes, "not_kept": error.strerror or str(error)})
    return made


def replace(current: Kept, others: Sequence[Kept], store: Store) -> tuple[Former, ...]:
    """Let the current program do what others did, and return what is left to be read of these.

    Raises OSError.
    """
    attached = [each for each in others if each.attached]
    for each in attached[:-1]:  # of a start that was cut off: that one was to take over from these
        gate.write(each.gate, gate.Role.CLOSED)
    if attached:
        old = attached[-1]
        both = _maps_of(old), _maps_of(current)
        is_alike = old.shape == current.shape
        take_over(
            old.gate,
            current.gate,
            lambda: _copy_watched(*both) if is_alike else None,
            lambda: _copy_attempts(*both) if is_alike else None,
        )
    else:
        gate.write(current.gate, gate.Role.OPEN)
    for each in attached:
        store.let_go(each.hooks())
        _close(fd for one in each.attached for fd in (one.link, one.program) if fd >= 0)
    for each in others:
        if each.shape != _SHAPE:
            store.let_go(each.names())
            _close(each.descriptors().values())
    return tuple(_former(each) for each in others if each.shape == _SHAPE)


def _copy_watched(old: Mapping[str, int], new: Mapping[str, int]) -> None:
    _copy(old["watched"], new["watched"])
    crossed = maps.lookup(old["crossed"], _ONLY, len(_ONLY))
    maps.update(new["crossed"], _ONLY, crossed or _ONLY)


def _copy_attempts(old: Mapping[str, int], new: Mapping[str, int]) -> None:
    """Copy them to the new map, also those that have a cell: a cell is the kernel program's."""
    _copy(old["attempts"], new["attempts"])
    info, other = objects.map_info(old["cells"]), objects.map_info(new["cells"])
    if info.value_size != other.value_size:
        return
    for cell in maps.items(old["cells"], info.key_size, info.value_size).values():
        _, skaddr = _CELL.unpack_from(cell)
        if skaddr:
            maps.insert(new["attempts"], shapes.LONG.pack(skaddr), cell[_CELL.size :])


def _copy(old: int, new: int) -> None:
    """Copy what the new map has not; nothing where the structs have another size."""
    shape, other = objects.map_info(old), objects.map_info(new)
    if (shape.key_size, shape.value_size) != (other.key_size, other.value_size):
        return
    for key in maps.keys(old, shape.key_size):
        value = maps.lookup(old, key, shape.value_size)
        if value is not None:
            maps.insert(new, key, value)


def _maps_of(kept: Kept) -> dict[str, int]:
    return {**kept.maps[CONNECT.name], **kept.own}


def _former(kept: Kept) -> Former:
    ring = kept.maps[CONNECT.name]["transitions"]
    return Former(kept.maps, objects.map_info(ring).max_entries, kept.names())


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
