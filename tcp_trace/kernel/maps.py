"""BPF maps by their descriptors. Uses `libbcc_bpf.so.0`, the part of BCC without LLVM."""

from __future__ import annotations

import ctypes as ct
import errno
import os
from functools import cache

_BATCH = 256
_END = errno.ENOENT
_TOO_FEW = errno.ENOSPC


@cache
def library() -> ct.CDLL:
    """Return the library, loaded when it is first used."""
    lib = ct.CDLL("libbcc_bpf.so.0", use_errno=True)
    for name in ("bpf_lookup_elem", "bpf_get_next_key"):
        getattr(lib, name).argtypes = [ct.c_int, ct.c_char_p, ct.c_char_p]
    lib.bpf_update_elem.argtypes = [ct.c_int, ct.c_char_p, ct.c_char_p, ct.c_uint64]
    lib.bpf_delete_elem.argtypes = [ct.c_int, ct.c_char_p]
    return lib


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Return what a map holds for a key, `size` bytes, None for nothing."""
    value = ct.create_string_buffer(size)
    return None if library().bpf_lookup_elem(fd, key, value) else value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    """Let a map hold a value for a key. Raises OSError."""
    if library().bpf_update_elem(fd, key, value, 0):
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()))


def delete(fd: int, key: bytes) -> None:
    """Let a map hold nothing for a key."""
    library().bpf_delete_elem(fd, key)


def keys(fd: int, size: int) -> list[bytes]:
    """Return the keys of a map, `size` bytes each."""
    found: list[bytes] = []
    following = ct.create_string_buffer(size)
    while not library().bpf_get_next_key(fd, found[-1] if found else None, following):
        found.append(following.raw)
    return found


def items(fd: int, key_size: int, value_size: int) -> dict[bytes, bytes]:
    """Return all that a hash map holds, in a few calls (since Linux 5.6). Raises OSError.

    What is added or removed meanwhile may be in it or not.
    """
    found: dict[bytes, bytes] = {}
    room, started = _BATCH, False
    token = ct.create_string_buffer(4)
    while True:
        following = ct.create_string_buffer(4)
        count = ct.c_uint32(room)
        read, values = (ct.create_string_buffer(room * size) for size in (key_size, value_size))
        at = token if started else None
        failed = library().bpf_lookup_batch(fd, at, following, read, values, ct.byref(count))
        error = ct.get_errno() if failed else 0
        if error == _TOO_FEW:  # one bucket has more
            room *= 2
            continue
        if error not in (0, _END):
            raise OSError(error, os.strerror(error))
        for n in range(count.value):
            key = read.raw[n * key_size : (n + 1) * key_size]
            found[key] = values.raw[n * value_size : (n + 1) * value_size]
        if error:
            return found
        token, started = following, True


def replace(fd: int, old: frozenset[bytes], new: frozenset[bytes]) -> None:
    """Let a map that is a set have the keys `new` in place of `old`; what is in both stays.

    What is new is added before what is old is removed. Raises OSError, of which nothing is undone.
    """
    for key in new - old:
        update(fd, key, b"\1")
    for key in old - new:
        delete(fd, key)
