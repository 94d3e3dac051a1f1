"""Text that others chose, made safe to show beside our own.

A process name is chosen by whoever runs the process. Shown as it is, it could wake a channel
(`<!channel>`, `@all`), begin a line of its own, or turn around the text that follows it. So:

    escaped     what is not seen: controls, formats, spaces but one, letters that are blank; and
                marks that sit on no letter of theirs, or too many on one
    isolated    text with letters that run from right to left stands between the characters FSI and
                PDI, so that nothing beside it is turned around (UAX #9); it cannot end that itself,
                since those characters are escaped in it
    passed on   every other character, whatever its script

Slack's three characters are escaped as Slack says, and names stand in a code span, where neither
Slack nor Mattermost nor Rocket.Chat looks for mentions, emoji, links or markup.
"""

from __future__ import annotations

from itertools import groupby
from unicodedata import bidirectional, category, combining, east_asian_width, name

ELLIPSIS = "…"
QUOTED_LIMIT = 60
"""Characters of what somebody wrote that an error repeats."""

PATH_LIMIT = 200
"""Characters of a path that an error repeats."""
ERRORS_LIMIT = 300
"""Characters of an error that tells of several wrong items, with the first of them at least."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JOINERS = "\u200c\u200d"
_BACKTICKS = dict.fromkeys(map(ord, "`\u1fef"), "'")  # the second is the first, normalised
RIGHT_TO_LEFT = {"R", "AL", "AN"}
"""Bidirectional classes (UAX #9) of what is read from right to left."""
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
# Fillers, blanks of Braille, music and hieroglyphs, and what stands for an object.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffc\U0001d159\U00013441\U00013442"
# Marks without a look of their own: Default_Ignorable_Code_Point of Unicode's core properties.
_UNSEEN_MARKS = frozenset(
    map(
        chr,
        (
            *(0x34F, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x16FE4),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
# Vietnamese has two accents on a letter; Hebrew, Thai, Tibetan and Burmese up to three marks of
# their own, and Burmese three that take room beside it.
_MOST_ACCENTS = 2
_MOST_ABOVE_OR_BELOW = 3
_MOST_BESIDE = 3
# Canonical combining classes of what strikes a letter out, or reaches over to the next one.
_REACHING = {1, 233, 234}


def printable(text: str) -> str:
    """Return text in which all that is not printable is escaped as in a Python string."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def visible(text: str) -> str:
    """Return `text` with every unseen character written as its escape, and marks out of place.

    What it returns it returns unchanged. Beside other text it must be `isolated`.
    """
    if text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    base = ""
    for is_mark, run in groupby(text, lambda character: category(character)[0] == "M"):
        characters = "".join(run)
        if is_mark:
            pieces.append(characters if _belong(characters, base) else _escaped(characters))
        else:
            pieces += [each if _is_seen(each) else _escaped(each) for each in characters]
        base = characters[-1] if not is_mark and pieces[-1] == characters[-1] else ""
    return "".join(pieces)


def isolated(text: str) -> str:
    """Return `text`, which is visible, so that it turns around nothing that stands beside it."""
    if text.isascii() or not any(bidirectional(each) in RIGHT_TO_LEFT for each in text):
        return text
    return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}"


def plain(text: str) -> str:
    """Return `text` safe to show beside other text where nothing looks for markup."""
    return isolated(visible(text))


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    wide = sum(east_asian_width(each) in {"W", "F"} for each in text)
    return wide + sum(category(each) not in {"Mn", "Me", "Cf"} for each in text)


def brief(text: object, limit: int = QUOTED_LIMIT) -> str:
    """Return what somebody wrote as an error repeats it: visible, and no more than is needed."""
    shown = visible(str(text)[: limit + 1])
    return isolated(shown if len(shown) <= limit else shown[: limit - 1] + ELLIPSIS)


def at_most(sentences: list[str], limit: int) -> str:
    """Return the first of these sentences, as many as `limit` allows, and how many more there are.

    The first is there, however long.
    """
    text, *others = sentences
    while others and len(text) + len(others[0]) < limit:
        text += "; " + others.pop(0)
    if not others:
        return text
    return f"{text}; and {len(others):,} more {'is' if len(others) == 1 else 'are'} wrong"


def escape(text: str) -> str:
    """Return `text` with `&`, `<` and `>`, and nothing else, as Slack wants them."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def clip(text: str, limit: int) -> str:
    """Return `text` escaped for Slack, in at most `limit` characters, no escape cut in half.

    What is too long ends in an ellipsis; what is isolated in it stays so.
    """
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    pieces: list[str] = []
    end = ELLIPSIS + _POP_ISOLATE * text.count(_FIRST_STRONG_ISOLATE)
    room = limit - len(end)
    for character in text:
        piece = _ENTITIES.get(character, character)
        if len(piece) > room:
            break
        room -= len(piece)
        pieces.append(piece)
    return "".join(pieces) + end


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
    return _code(visible(text), limit)


def trusted(text: str) -> str:
    """Return the operator's own text, such as the host's name, safe to show beside other text.

    It may look as it likes, if only it is printable. Joiners are: emoji are written with them.
    """
    return isolated(_printable_but_joiners(text))


def trusted_code(text: str, limit: int) -> str:
    """Return the operator's own text as a code span, its inside within `limit`."""
    return _code(_printable_but_joiners(text), limit)


def _printable_but_joiners(text: str) -> str:
    return "".join(each if each in _JOINERS else printable(each) for each in text)


def _code(text: str, limit: int) -> str:
    inside = text.translate(_BACKTICKS)
    return f"`{isolated(clip(inside, limit)) or '?'}`" if inside.strip() else "`?`"


def _is_seen(character: str) -> bool:
    """Return whether a character that is no mark is plainly seen."""
    return character == " " or not (category(character)[0] in "CZ" or character in _BLANK)


def _belong(marks: str, base: str) -> bool:
    """Return whether marks may sit on this letter: of its script, seen, and no more than it has."""
    if category(base or "\0")[0] != "L" or len(marks) > _MOST_ABOVE_OR_BELOW + _MOST_BESIDE:
        return False
    accents = [each for each in marks if _script(each) == "COMBINING"]
    beside = sum(category(each) == "Mc" for each in marks)
    return (
        len(accents) <= _MOST_ACCENTS
        and len(marks) - beside <= _MOST_ABOVE_OR_BELOW
        and beside <= _MOST_BESIDE
        and all(combining(each) not in _REACHING for each in accents)
        and all(each in accents or _script(each) == _script(base) for each in marks)
        and not any(each in _UNSEEN_MARKS or category(each) == "Me" for each in marks)
    )


def _script(character: str) -> str:
    """Return the first word of a character's name: its script, `COMBINING` for those of many."""
    return name(character, "").partition(" ")[0]


def _escaped(text: str) -> str:
    return text.encode("unicode_escape", "backslashreplace").decode()
