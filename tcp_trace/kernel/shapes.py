"""C structs for Python to pack and unpack. A test compares each with its C declaration."""

from __future__ import annotations

import struct


class Shape:
    """A struct by its C name and its fields, in order.

    A field is a format of `struct`, in native byte order, or another shape, which stays packed as
    bytes. There is no implicit padding: declare padding as a field.
    """

    def __init__(self, name: str, /, **fields: str | Shape) -> None:
        self.name = name
        self.fields = {field: _format(of) for field, of in fields.items()}
        packed = struct.Struct("=" + "".join(self.fields.values()))
        self.size = packed.size
        self.pack = packed.pack
        self.unpack = packed.unpack
        self.unpack_from = packed.unpack_from
        self.iter_unpack = packed.iter_unpack

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each field."""
        return {field: struct.calcsize("=" + of) for field, of in self.fields.items()}


def _format(of: str | Shape) -> str:
    return of if isinstance(of, str) else f"{of.size}s"
