"""Reads what the kernel reports about BPF objects, to check descriptors from outside.

None of it can be forged: ids, names and the maps that a program uses are set when an object is
created, which takes privileges. See `struct bpf_map_info` and its neighbours in
include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes as ct
import os
import re
import struct
from typing import NamedTuple

from tcp_trace.kernel.libc import bpf, failure

# enum bpf_cmd
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _TASK_FD_QUERY = 13, 15, 20
# bpf_fd info_len info
_INFO = struct.Struct("=IIQ")
# type id key_size value_size max_entries map_flags name
_MAP_INFO = struct.Struct("=6I16s")
# type id tag jited_prog_len xlated_prog_len jited_prog_insns xlated_prog_insns load_time
# created_by_uid nr_map_ids map_ids name
_PROG_INFO = struct.Struct("=II8s2I3Q2IQ16s")
# type id prog_id
_LINK_INFO = struct.Struct("=3I")
_LARGEST_INFO = 256
# pid fd flags buf_len buf prog_id fd_type probe_offset probe_addr
_QUERY = struct.Struct("=4IQ2I2Q")
_MAPS_MOST = 256

NAME_MOST = 15
"""Bytes that the kernel keeps of a name: BPF_OBJ_NAME_LEN without the final zero."""


class MapInfo(NamedTuple):
    """A map's properties; sizes are bytes, `name` has at most 15."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


class ProgramInfo(NamedTuple):
    """A program's properties, and the ids of the maps it uses."""

    type: int
    id: int
    name: str
    maps: frozenset[int]


def kind_of(fd: int) -> str:
    """Return the kind of a descriptor: `bpf-map`, `bpf_link`, `[perf_event]`, `memfd:x`.

    No ordinary file can pass for one: its path begins with a slash, and is returned unchanged.
    """
    target = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - no path
    if memfd := re.fullmatch(r"/(memfd:.*) \(deleted\)", target):
        return memfd[1]
    return target.removeprefix("anon_inode:")


def map_info(fd: int) -> MapInfo:
    """Return a map's properties. Raises OSError for any other descriptor."""
    if kind_of(fd) != "bpf-map":
        raise OSError("it is not a map")
    kind, number, key_size, value_size, entries, flags, name = _MAP_INFO.unpack_from(_info(fd))
    return MapInfo(kind, number, key_size, value_size, entries, flags, _text(name))


def program_of(fd: int) -> ProgramInfo:
    """Return the program that a link or a perf event keeps attached, or that `fd` itself is.

    Raises OSError for any other descriptor. For a perf event the kernel asks for CAP_SYS_ADMIN.
    """
    match kind_of(fd):
        case "bpf-prog":
            return _program(fd)
        case "bpf_link" | "bpf-link":
            number = _LINK_INFO.unpack_from(_info(fd))[2]
        case "[perf_event]":
            number = _program_of_event(fd)
        case kind:
            raise OSError(f"it keeps no program attached: {kind}")
    program = _checked(bpf(_PROG_GET_FD_BY_ID, struct.pack("=3I", number, 0, 0)))
    try:
        return _program(program)
    finally:
        os.close(program)


def _program(fd: int) -> ProgramInfo:
    maps = (ct.c_uint32 * _MAPS_MOST)()
    wanted = _PROG_INFO.pack(0, 0, b"", *(0,) * 6, _MAPS_MOST, ct.addressof(maps), b"")
    kind, number, *_, count, _, name = _PROG_INFO.unpack_from(_info(fd, wanted))
    return ProgramInfo(kind, number, _text(name), frozenset(maps[: min(count, _MAPS_MOST)]))


def _info(fd: int, wanted: bytes = b"") -> bytes:
    buffer = ct.create_string_buffer(wanted, _LARGEST_INFO)
    _checked(bpf(_OBJ_GET_INFO_BY_FD, _INFO.pack(fd, _LARGEST_INFO, ct.addressof(buffer))))
    return buffer.raw


def _program_of_event(fd: int) -> int:
    attributes = ct.create_string_buffer(
        _QUERY.pack(os.getpid(), fd, 0, 0, 0, 0, 0, 0, 0), _QUERY.size
    )
    _checked(bpf(_TASK_FD_QUERY, attributes))
    return int(_QUERY.unpack(attributes.raw)[5])


def _checked(result: int) -> int:
    if result < 0:
        raise failure()
    return result


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode(errors="backslashreplace")
