"""What a terminal gets: nothing that it obeys, and names in every script."""

from __future__ import annotations

import io

import pytest

from tcp_trace.log import output
from tcp_trace.safetext import plain

HEBREW = "\u05e9\u05dc\u05d5\u05dd"


def shown(text: str) -> str:
    """Return what is written of a text."""
    stream = io.StringIO()
    output._write(stream, text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31m\tb\r\x9b", "a\\x1b[31m\\tb\\r\\x9b\n"),
        ("two\nlines", "two\nlines\n"),
        (
            "\u202eabc\u2066\u2068\u2069\u2068x\u2069",
            r"\u202eabc\u2066\u2068\u2069\u2068x\u2069" + "\n",
        ),
        (f"a {HEBREW}", r"a \u05e9\u05dc\u05d5\u05dd" + "\n"),
        (f"by {plain(HEBREW)} 3", f"by \u2068{HEBREW}\u2069 3\n"),
        (f"\u2068{HEBREW}\x1b\u2069", r"\u2068\u05e9\u05dc\u05d5\u05dd\x1b\u2069" + "\n"),
        (f"\u2068{HEBREW}", r"\u2068\u05e9\u05dc\u05d5\u05dd" + "\n"),
        ("na\u00efve \u65e5\u672c \ud800", "na\u00efve \u65e5\u672c \\ud800\n"),
    ],
)
def test_no_terminal_obeys_it(text: str, expected: str) -> None:
    """Controls are escaped; text from right to left passes where it turns nothing around."""
    assert shown(text) == expected


def test_json_stays_json() -> None:
    """No character of it is left for `show` to escape."""
    text = output.as_json({"\x7f\x1b\u202e": HEBREW})
    assert shown(text) == text + "\n"


def test_a_bug_is_told_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that nobody expected may quote anything."""
    output.complain_of_bug(ValueError("\x1b[31m"))
    err = capsys.readouterr().err
    assert err.startswith("tcp-trace: this is a bug")
    assert "ValueError: \\x1b[31m" in err
