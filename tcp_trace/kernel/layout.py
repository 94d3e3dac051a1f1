"""Offsets of the kernel's struct fields: from its type information, or from its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel import btf, features, headers
from tcp_trace.kernel.contract import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.kernel.source import Field


class Layout(NamedTuple):
    """The compiler's `flags`; `source` is `btf` or `headers`.

    `functions` are BTF ids, None for a function that the kernel does not have.
    """

    flags: tuple[str, ...]
    source: str
    functions: dict[str, int | None]


def read(fields: Iterable[Field], functions: Iterable[str]) -> Layout:
    """Find the offsets of these fields. Raises StartError if they cannot be known."""
    try:
        types = btf.read(fields, functions)
    except btf.BtfError as error:
        return _from_headers(error)
    flags = tuple(f"-D{name}={value}" for name, value in types.offsets.items())
    typed = ("-DTYPED_TASK",) * features.has_typed_task()
    return Layout(flags + typed, "btf", types.functions)


def _from_headers(error: btf.BtfError) -> Layout:
    try:
        headers.require()
    except headers.HeadersMissing as missing:
        raise StartError(f"{error}; {missing}") from None
    return Layout(("-DLAYOUT_FROM_HEADERS",), "headers", {})
