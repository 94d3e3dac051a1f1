"""Text that others chose, made safe to show beside our own.

A process name is chosen by whoever runs the process. Shown as it is, it could wake a channel
(`<!channel>`, `@all`), begin a line of its own, or turn around the text that follows it. So:
every character that is not plainly visible from left to right is written as its escape, Slack's
three characters are escaped as Slack says, and names stand in a code span, where neither Slack
nor Mattermost nor Rocket.Chat looks for mentions, emoji, links or markup.
"""

from __future__ import annotations

from unicodedata import bidirectional, category

ELLIPSIS = "…"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNSEEN_CATEGORIES = "CZM"  # controls and formats, separators, marks that sit on other characters
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"


def printable(text: str) -> str:
    """Return text in which all that is not printable is escaped as in a Python string."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def visible(text: str) -> str:
    """Return `text` with every unseen or reordering character written as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def escape(text: str) -> str:
    """Return `text` with `&`, `<` and `>`, and nothing else, as Slack wants them."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def clip(text: str, limit: int) -> str:
    """Return `text` escaped for Slack, in at most `limit` characters, no escape cut in half.

    What is too long ends in an ellipsis.
    """
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    pieces: list[str] = []
    room = limit - len(ELLIPSIS)
    for character in text:
        piece = _ENTITIES.get(character, character)
        if len(piece) > room:
            break
        room -= len(piece)
        pieces.append(piece)
    return "".join(pieces) + ELLIPSIS


def clip_lines(lines: list[str], limit: int) -> str:
    """Return as many of these lines, already escaped, as `limit` allows, joined.

    Lines are left out whole, so that no markup is cut in half; an ellipsis stands for them.
    """
    text = "\n".join(lines)
    kept = list(lines)
    while len(text) > limit and kept:
        kept.pop()
        text = "\n".join([*kept, ELLIPSIS])
    return text


def code(text: str, limit: int) -> str:
    """Return `text` as a code span that nothing in it can end, its inside within `limit`."""
    inside = visible(text).replace("`", "'")
    return f"`{clip(inside, limit) or '?'}`" if inside.strip() else "`?`"


def _visible_character(character: str) -> str:
    if character == " ":
        return character
    unseen = (
        category(character)[0] in _UNSEEN_CATEGORIES
        or bidirectional(character) in _RIGHT_TO_LEFT
        or character in _BLANK_LETTERS
    )
    return character.encode("unicode_escape").decode() if unseen else character
