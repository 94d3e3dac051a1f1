"""Offsets of the kernel's struct fields, from its own type information (BTF).

Read through libbpf, which BCC depends on: it parses the few megabytes of `vmlinux` in milliseconds.
"""

from __future__ import annotations

import ctypes as ct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.kernel.source import Field

VMLINUX = Path("/sys/kernel/btf/vmlinux")

# enum of include/uapi/linux/btf.h
_STRUCT = 4
_UNION = 5
_FUNC = 12

_RENAMED = {
    # Commit 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent.", in v6.15).
    ("kernfs_node", "parent"): "__parent",
    # Commit de4f5fed3f23 ("iov_iter: add iter_iovec() helper", in v6.4).
    ("iov_iter", "iov"): "__iov",
}


class BtfError(Exception):
    """The kernel's type information is missing or lacks a field; the text says which."""


class _Type(ct.Structure):
    """`struct btf_type`: for a struct or union, `vlen` members follow it."""

    _fields_ = (("name_off", ct.c_uint32), ("info", ct.c_uint32), ("size", ct.c_uint32))

    @property
    def kind(self) -> int:
        return int(self.info >> 24) & 0x1F

    @property
    def vlen(self) -> int:
        return int(self.info) & 0xFFFF

    @property
    def has_bitfields(self) -> bool:
        return bool(self.info >> 31)


class _Member(ct.Structure):
    """`struct btf_member`."""

    _fields_ = (("name_off", ct.c_uint32), ("type", ct.c_uint32), ("offset", ct.c_uint32))


def libbpf() -> ct.CDLL:
    """Return the library. Raises BtfError if it is not installed."""
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ct.CDLL(name, use_errno=True)
        except OSError:
            continue
        lib.btf__parse.restype = ct.c_void_p
        lib.btf__parse.argtypes = [ct.c_char_p, ct.c_void_p]
        lib.btf__free.argtypes = [ct.c_void_p]
        lib.btf__find_by_name_kind.argtypes = [ct.c_void_p, ct.c_char_p, ct.c_uint32]
        lib.btf__type_by_id.restype = ct.POINTER(_Type)
        lib.btf__type_by_id.argtypes = [ct.c_void_p, ct.c_uint32]
        lib.btf__name_by_offset.restype = ct.c_char_p
        lib.btf__name_by_offset.argtypes = [ct.c_void_p, ct.c_uint32]
        return lib
    raise BtfError("libbpf is not installed; install the package libbpf1 (it belongs to BCC)")


class _Btf:
    """Open type information. `offset` returns bytes, `bit_offset` bits."""

    def __init__(self, path: Path) -> None:
        self._lib = libbpf()
        self._btf = self._lib.btf__parse(str(path).encode(), None)
        # libbpf before 1.0 returns an error as a pointer just below the end of memory.
        if not self._btf or self._btf > 2**64 - 4096:
            raise BtfError(f"cannot read the kernel's type information in {path}")

    def close(self) -> None:
        self._lib.btf__free(self._btf)

    def function(self, name: str) -> int | None:
        number = self._lib.btf__find_by_name_kind(self._btf, name.encode(), _FUNC)
        return int(number) if number > 0 else None

    def offset(self, struct: str, field: str) -> int:
        bits = self.bit_offset(struct, field)
        if bits % 8:
            raise BtfError(f"this kernel's struct {struct} has a bit field {field}")
        return bits // 8

    def bit_offset(self, struct: str, field: str) -> int:
        number = self._lib.btf__find_by_name_kind(self._btf, struct.encode(), _STRUCT)
        bits = self._find(number, field.encode()) if number > 0 else None
        if bits is None and number > 0 and (struct, field) in _RENAMED:
            bits = self._find(number, _RENAMED[struct, field].encode())
        if bits is None:
            raise BtfError(f"this kernel's struct {struct} has no field {field}")
        return bits

    def _find(self, number: int, field: bytes) -> int | None:
        """Return the offset of `field` in bits, looking into anonymous structs and unions."""
        pointer = self._lib.btf__type_by_id(self._btf, number)
        described = pointer.contents
        if described.kind not in (_STRUCT, _UNION):
            return None
        first = ct.addressof(described) + ct.sizeof(_Type)
        for member in (_Member * described.vlen).from_address(first):
            # With bit-fields the upper byte of the offset is the width.
            offset = int(member.offset) & 0xFFFFFF if described.has_bitfields else member.offset
            name = self._lib.btf__name_by_offset(self._btf, member.name_off)
            if name == field:
                return int(offset)
            inner = None if name else self._find(member.type, field)
            if inner is not None:
                return int(offset) + inner
        return None


class Types(NamedTuple):
    """Offsets and function ids from the type information.

    `offsets` are by the field's constant: in bytes, or for a bit field in bits, counted from the
    lowest bit of a byte on a little-endian machine. `functions` are BTF ids by name, None for a
    function that the kernel does not have.
    """

    offsets: dict[str, int]
    functions: dict[str, int | None]


def read(
    fields: Iterable[Field] = (), functions: Iterable[str] = (), path: Path = VMLINUX
) -> Types:
    """Read the kernel's type information.

    Raises BtfError if the kernel has none or lacks a field.
    """
    if not path.exists():
        raise BtfError(f"this kernel has no type information: {path} does not exist")
    btf = _Btf(path)
    try:
        found = {
            field.constant: (btf.bit_offset if field.of_bits else btf.offset)(*field[:2])
            for field in fields
        }
        return Types(found, {name: btf.function(name) for name in functions})
    finally:
        btf.close()
