"""BPF maps by their descriptors, without a library: that would be 2.5 MB resident."""

from __future__ import annotations

import ctypes as ct
import errno
import os
import struct
from typing import TYPE_CHECKING

from tcp_trace.kernel.libc import bpf, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

# include/uapi/linux/bpf.h: enum bpf_cmd, and its union bpf_attr: map_fd, key, value or next_key,
# flags
_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _LOOKUP_BATCH = 1, 2, 3, 4, 24
_NO_EXIST = 1
_ELEMENT = struct.Struct("=i 4x QQQ")
# in_batch out_batch keys values count map_fd elem_flags flags; the kernel writes to count
_BATCHES = struct.Struct("=QQQQIiQQ")
_COUNT = 4

_BATCH = 256
_END = errno.ENOENT
_TOO_FEW = errno.ENOSPC


def _call(
    command: int,
    fd: int,
    key: bytes | None,
    value: ct.Array[ct.c_char] | None = None,
    flags: int = 0,
) -> bool:
    held = ct.create_string_buffer(key, len(key)) if key is not None else None
    at = (ct.addressof(each) if each is not None else 0 for each in (held, value))
    return not bpf(command, _ELEMENT.pack(fd, *at, flags))


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Return the value of a key, `size` bytes, None for no value."""
    value = ct.create_string_buffer(size)
    return value.raw if _call(_LOOKUP, fd, key, value) else None


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value of a key. Raises OSError."""
    if not _call(_UPDATE, fd, key, ct.create_string_buffer(value, len(value))):
        raise failure()


def insert(fd: int, key: bytes, value: bytes) -> None:
    """Set the value of a key that has none yet."""
    _call(_UPDATE, fd, key, ct.create_string_buffer(value, len(value)), _NO_EXIST)


def delete(fd: int, key: bytes) -> None:
    """Delete a key."""
    _call(_DELETE, fd, key)


def keys(fd: int, size: int) -> list[bytes]:
    """Return the keys of a map, `size` bytes each."""
    found: list[bytes] = []
    following = ct.create_string_buffer(size)
    while _call(_NEXT_KEY, fd, found[-1] if found else None, following):
        found.append(following.raw)
    return found


def _cut(read: ct.Array[ct.c_char], size: int, count: int) -> list[bytes]:
    raw = read.raw  # a copy
    return [raw[n * size : (n + 1) * size] for n in range(count)]


def batches(fd: int, key_size: int, value_size: int) -> Iterator[dict[bytes, bytes]]:
    """Yield all items of a hash map, some hundred at once (since Linux 5.6). Raises OSError.

    Items added or removed meanwhile may be included or not.
    """
    room, started = _BATCH, False
    token = ct.create_string_buffer(4)
    while True:
        following = ct.create_string_buffer(4)
        read, values = (ct.create_string_buffer(room * size) for size in (key_size, value_size))
        at = [ct.addressof(each) for each in (token, following, read, values)]
        packed = _BATCHES.pack(at[0] if started else 0, *at[1:], room, fd, 0, 0)
        attributes = ct.create_string_buffer(packed, len(packed))
        error = ct.get_errno() if bpf(_LOOKUP_BATCH, attributes) else 0
        if error == _TOO_FEW:  # one bucket has more items than the buffer
            room *= 2
            continue
        if error not in (0, _END):
            raise OSError(error, os.strerror(error))
        count = _BATCHES.unpack(attributes.raw)[_COUNT]
        yield dict(zip(_cut(read, key_size, count), _cut(values, value_size, count), strict=True))
        if error:
            return
        token, started = following, True


def items(fd: int, key_size: int, value_size: int) -> dict[bytes, bytes]:
    """Return all that a hash map holds; see `batches`. Raises OSError."""
    found: dict[bytes, bytes] = {}
    for batch in batches(fd, key_size, value_size):
        found |= batch
    return found


def replace(fd: int, old: frozenset[bytes], new: frozenset[bytes]) -> None:
    """Replace the keys `old` of a map by `new`; common keys stay.

    New keys are added before old ones are removed. Raises OSError and undoes nothing.
    """
    for key in new - old:
        update(fd, key, b"\1")
    for key in old - new:
        delete(fd, key)
