"""The C of probes, as one text.

BCC rewrites map accesses in the main file only. So files that a probe includes from `bpf/` are
inserted in place, each once, and clang sees one file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_INCLUDE = re.compile(r'#include "(.+)"')
_ONCE = "#pragma once"
_FIELD = re.compile(r"(?<!define )\b(BIT_)?FIELD\((\w+), (\w+)\)")


class Field(NamedTuple):
    """A member of a kernel struct; `of_bits` for an offset in bits."""

    struct: str
    member: str
    of_bits: bool = False

    @property
    def constant(self) -> str:
        """The name of its constant: an offset from the struct's beginning."""
        return f"{'BITOFFSET' if self.of_bits else 'OFFSETOF'}_{self.struct}_{self.member}"


def text_of(files: Iterable[str], directory: Path) -> str:
    """Return the text of these C files in `directory`, with their includes from there."""
    seen: set[str] = set()
    return "".join(line for file in files for line in _lines(file, directory, seen))


def fields(text: str) -> list[Field]:
    """Return every field that a text reads, each once: FIELD(struct, member) and BIT_FIELD."""
    found = _FIELD.findall(text)
    return list(dict.fromkeys(Field(struct, member, bool(bits)) for bits, struct, member in found))


def _lines(file: str, directory: Path, seen: set[str]) -> Iterable[str]:
    if file in seen:
        return
    seen.add(file)
    yield f'#line 1 "{file}"\n'
    for number, line in enumerate((directory / file).read_text().splitlines(), 1):
        if included := _INCLUDE.match(line):
            yield from _lines(included[1], directory, seen)
            yield f'#line {number + 1} "{file}"\n'
        elif line != _ONCE:
            yield line + "\n"
        else:
            yield "\n"
