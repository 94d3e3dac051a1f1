"""The page of figures."""

from __future__ import annotations

from tests.timelines import page


def test_the_page_is_what_the_timelines_give() -> None:
    """To write it: `python3 -m tests.timelines --write`."""
    text = page.PAGE.read_text()
    assert page.written(text) == text
