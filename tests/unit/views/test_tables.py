"""Tables: aligned, and safe to show."""

from __future__ import annotations

from tcp_trace.views.tables import table


def test_columns_are_aligned() -> None:
    """Words stand at the left, numbers at the right, and what is empty is a dash."""
    lines = table(("name", "count", "why"), [("a", "1,000", ""), ("long", "7", "x")])
    assert lines == ["NAME  COUNT  WHY", "a     1,000  -", "long      7  x"]


def test_no_cell_reaches_the_terminal() -> None:
    """A name made of escapes is shown as such, and a long one is cut."""
    lines = table(("name",), [("\x1b[31m\n\u202e",), ("x" * 1000,)])
    assert lines[1] == "\\x1b[31m\\n\\u202e"
    assert len(lines[2]) == 60
    assert lines[2].endswith("…")


def test_a_table_without_rows_is_its_head() -> None:
    """Nothing to show is no error."""
    assert table(("a", "b"), []) == ["A  B"]
