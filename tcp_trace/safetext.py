"""Makes untrusted text safe to show beside our own.

Every user chooses the names of his processes. Shown unchanged, a name could notify a channel
(`<!channel>`, `@all`), begin a line of its own, or reverse the text after it. So characters are

    escaped     if unseen: controls, formats, spaces but one, blank letters; and combining marks
                that belong to no letter, or are too many on one
    isolated    if read from right to left: such text stands between the characters FSI and PDI, so
                that it reverses nothing beside it (UAX #9); it cannot end the isolation itself,
                since those characters are escaped in it
    passed on   otherwise, in any script

Slack's three characters are escaped as Slack demands. Names stand in a code span, where Slack,
Mattermost and Rocket.Chat look for no mentions, emoji, links or markup.
"""

from __future__ import annotations

from itertools import groupby
from unicodedata import bidirectional, category, combining, east_asian_width, name

ELLIPSIS = "…"
QUOTED_LIMIT = 60
"""Characters of untrusted text that an error quotes."""

PATH_LIMIT = 200
"""Characters of a path that an error quotes."""
ERRORS_LIMIT = 300
"""Characters of an error about several wrong items; it has at least the first."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JOINERS = "\u200c\u200d"
_BACKTICKS = dict.fromkeys(map(ord, "`\u1fef"), "'")  # the second is the first, normalised
RIGHT_TO_LEFT = {"R", "AL", "AN"}
"""Bidirectional classes (UAX #9) of right-to-left characters."""
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
# Fillers; blanks of Braille, music and hieroglyphs; the object replacement character.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffc\U0001d159\U00013441\U00013442"
# Invisible marks: Default_Ignorable_Code_Point of Unicode's core properties.
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
# Vietnamese has two accents on a letter; Hebrew, Thai, Tibetan and Burmese have up to three marks
# of their own, and Burmese three more that take room beside the letter.
_MOST_ACCENTS = 2
_MOST_ABOVE_OR_BELOW = 3
_MOST_BESIDE = 3
# Canonical combining classes of marks that strike a letter out, or reach over to the next one.
_REACHING = {1, 233, 234}


def printable(text: str) -> str:
    """Return text with all unprintable characters escaped as in a Python string."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def visible(text: str) -> str:
    """Return `text` with unseen characters and misplaced marks escaped.

    It is idempotent. Beside other text the result must be `isolated`.
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
    """Return `text`, which must be visible, isolated so that it reverses no text beside it."""
    if text.isascii() or not any(bidirectional(each) in RIGHT_TO_LEFT for each in text):
        return text
    return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}"


def plain(text: str) -> str:
    """Return `text` safe to show beside other text, in a place without markup."""
    return isolated(visible(text))


def columns(text: str) -> int:
    """Return the number of terminal columns that `text` takes."""
    if text.isascii():
        return len(text)
    wide = sum(east_asian_width(each) in {"W", "F"} for each in text)
    return wide + sum(category(each) not in {"Mn", "Me", "Cf"} for each in text)


def brief(text: object, limit: int = QUOTED_LIMIT) -> str:
    """Return untrusted text as an error quotes it: visible and short."""
    shown = visible(str(text)[: limit + 1])
    return isolated(shown if len(shown) <= limit else shown[: limit - 1] + ELLIPSIS)


def at_most(sentences: list[str], limit: int) -> str:
    """Return as many of these sentences as `limit` allows, and the number of those left out.

    The first is always there, however long.
    """
    text, *others = sentences
    while others and len(text) + len(others[0]) < limit:
        text += "; " + others.pop(0)
    if not others:
        return text
    return f"{text}; and {len(others):,} more {'is' if len(others) == 1 else 'are'} wrong"


def escape(text: str) -> str:
    """Return `text` with only `&`, `<` and `>` escaped, as Slack demands."""
    return "".join(_ENTITIES.get(character, character) for character in text)


def clip(text: str, limit: int) -> str:
    """Return `text` escaped for Slack, in at most `limit` characters, no escape cut in half.

    Text that is too long ends in an ellipsis; isolated parts stay isolated.
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
    """Return as many of these escaped lines as `limit` allows, joined.

    Only whole lines are left out, so that no markup is cut in half; an ellipsis replaces them.
    """
    text = "\n".join(lines)
    kept = list(lines)
    while len(text) > limit and kept:
        kept.pop()
        text = "\n".join([*kept, ELLIPSIS])
    return text


def code(text: str, limit: int) -> str:
    """Return `text` as a code span that it cannot end itself, its inside within `limit`."""
    return _code(visible(text), limit)


def trusted(text: str) -> str:
    """Return the operator's own text, such as the host's name, safe to show beside other text.

    Any printable text is allowed, and joiners, which emoji need.
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
    """Return whether a character other than a mark is visible."""
    return character == " " or not (category(character)[0] in "CZ" or character in _BLANK)


def _belong(marks: str, base: str) -> bool:
    """Return whether marks belong on this letter: of its script, visible, and not too many."""
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
    """Return the first word of a character's name: its script, or `COMBINING`."""
    return name(character, "").partition(" ")[0]


def _escaped(text: str) -> str:
    return text.encode("unicode_escape", "backslashreplace").decode()
