"""Tables for a terminal. Cells are untrusted, so they are escaped."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from tcp_trace.safetext import ELLIPSIS, columns, isolated, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDEST = 60
_INDENT, _LABEL = " " * 4, 5


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines: the head in capitals, then the rows; a column is as wide as its widest cell.

    Text longer than its cell ends in an ellipsis; numbers are right-aligned.
    """
    cells = [[_cell(text) for text in row] for row in rows]
    lines = [[text.upper() for text in head], *cells]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    right = [
        bool(column) and all(_is_number(cell) for cell in column)
        for column in (zip(*cells, strict=True) if cells else [()] * len(head))
    ]
    return [
        "  ".join(
            _filled(text, width, at_right=at_right)
            for text, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def details(columns: int, *facts: tuple[str, str]) -> list[str]:
    """Return the lines below a row: a label and a text each, at most `columns` wide.

    Empty texts are left out. Escape the texts first.
    """
    lines: list[str] = []
    for label, text in facts:
        lines += textwrap.wrap(
            text,
            columns,
            initial_indent=f"{_INDENT}{label:<{_LABEL}}",
            subsequent_indent=_INDENT + " " * _LABEL,
            break_on_hyphens=False,
        )
    return lines


def wrapped(text: str, columns: int) -> list[str]:
    """Return an escaped text as indented lines of at most `columns`."""
    return textwrap.wrap(
        text, columns, initial_indent="  ", subsequent_indent=_INDENT, break_on_hyphens=False
    )


def _cell(text: str) -> str:
    shown = visible(text) or "-"
    return isolated(shown if len(shown) <= _WIDEST else shown[: _WIDEST - 1] + ELLIPSIS)


def _filled(text: str, width: int, *, at_right: bool) -> str:
    space = " " * (width - columns(text))
    return space + text if at_right else text + space


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").isdigit()
