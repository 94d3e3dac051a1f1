"""Text that is cut to fit."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.safetext import clip, clip_lines, code, visible


@given(st.text(alphabet="a&<>é", max_size=60), st.integers(1, 60))
def test_clip_never_cuts_an_escape(text: str, limit: int) -> None:
    """What is clipped is within the limit, and whole up to its ellipsis."""
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    kept = clipped.removesuffix("…")
    assert "&" not in re.sub(r"&(amp|lt|gt);", "", kept)
    plain = kept.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert text.startswith(plain)
    assert clipped == kept or len(plain) < len(text)


def test_lines_are_left_out_whole() -> None:
    """Lines that do not fit are left out from the end, and an ellipsis says so."""
    assert clip_lines(["aaaa", "bbbb", "cccc"], 14) == "aaaa\nbbbb\ncccc"
    assert clip_lines(["aaaa", "bbbb", "cccc"], 13) == "aaaa\nbbbb\n…"
    assert clip_lines(["aaaa", "bbbb", "cccc"], 10) == "aaaa\n…"


def test_visible_leaves_what_is_plain() -> None:
    """Names that are plainly visible are shown as they are; the rest as escapes."""
    assert visible("nginx: worker") == "nginx: worker"
    assert visible("Müller-日本") == "Müller-日本"
    assert visible("a\tb\u202e") == "a\\tb\\u202e"
    assert code("", 10) == code(" ", 10) == "`?`"
