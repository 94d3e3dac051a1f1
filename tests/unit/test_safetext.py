"""Names in every script are shown as they are written, and nothing unseen is let through."""

from __future__ import annotations

import sys
from unicodedata import bidirectional, category, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.safetext import (
    ERRORS_LIMIT,
    QUOTED_LIMIT,
    at_most,
    brief,
    clip,
    code,
    columns,
    isolated,
    plain,
    trusted,
    trusted_code,
    visible,
)

NAMES = {
    "Arabic": "خادم-\u0661",
    "Arabic with vowels": "مُحَمَّد",
    "Armenian": "Երևան",
    "Bengali": "কলকাতা",
    "Burmese": "မြန်မာ မြွှေ့",
    "Chinese": "数据库",
    "Devanagari": "काठमाडौं क्षत्रिय",
    "Georgian": "თბილისი",
    "Greek, decomposed": normalize("NFD", "Ἀθῆναι"),
    "Gujarati": "અમદાવાદ",
    "Hebrew": "שרת-1",
    "Hebrew with points": "שָׁלוֹם",
    "Japanese, decomposed": normalize("NFD", "データベース"),
    "Khmer": "ភ្នំពេញ ស្ត្រី",
    "Korean": "데이터베이스",
    "Korean, decomposed": normalize("NFD", "서울"),
    "Lao": "ວຽງຈັນ",
    "Malayalam": "തിരുവനന്തപുരം",
    "Russian, decomposed": normalize("NFD", "Йошкар-Ола"),
    "Sinhala": "කොළඹ",
    "Syriac": "ܣܘܪܝܝܐ",
    "Tamil": "சென்னை",
    "Telugu": "హైదరాబాద్",
    "Thai": "กรุงเทพฯ ที่นี่",
    "Tibetan": "བསྒྲུབས",
    "Vietnamese, decomposed": normalize("NFD", "Việt Nam phở ợ"),
    "Yoruba, decomposed": normalize("NFD", "Ẹ̀kọ́"),
    "a cat": "🐈",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_script_is_shown(name: str) -> None:
    """Letters with the marks that belong to them are no danger to what stands beside them."""
    assert visible(name) == name
    right_to_left = any(bidirectional(each) in {"R", "AL", "AN"} for each in name)
    assert plain(name) == (f"\u2068{name}\u2069" if right_to_left else name)


UNSEEN = {
    "a lone accent": ("\u0301a", r"\u0301a"),
    "an accent on a digit": ("1\u0301", r"1\u0301"),
    "an accent on what is escaped": ("\u3164\u0301", r"\u3164\u0301"),
    "a pile of accents": ("Z\u0351\u036b\u0343", r"Z\u0351\u036b\u0343"),
    "a pile of Thai marks": ("ก" + "\u0e34\u0e48\u0e4c\u0e4d", r"ก\u0e34\u0e48\u0e4c\u0e4d"),
    "one mark very often": ("ก" + "\u0e47" * 4, "ก" + r"\u0e47" * 4),
    "a mark of another script": ("a\u0e34", r"a\u0e34"),
    "struck out": ("a\u0336b\u0338", r"a\u0336b\u0338"),
    "over two letters": ("a\u0360b", r"a\u0360b"),
    "enclosed": ("a\u20dd", r"a\u20dd"),
    "a variation selector": ("a\ufe0f\U000e0100", r"a\ufe0f\U000e0100"),
    "a grapheme joiner": ("a\u034f", r"a\u034f"),
    "joiners": ("a\u200db\u200c", r"a\u200db\u200c"),
    "overrides and isolates": ("\u202ea\u2066\u2069\u061c", r"\u202ea\u2066\u2069\u061c"),
    "fillers": ("\u115f\u1160\u3164\uffa0\u2800", r"\u115f\u1160\u3164\uffa0\u2800"),
    "other spaces": ("a\u00a0b\u3000c\u2028", r"a\xa0b\u3000c\u2028"),
    "tags": ("\U000e0041", r"\U000e0041"),
    "a lone surrogate": ("\udc80", r"\udc80"),
    "private use": ("\ue000", r"\ue000"),
}


@pytest.mark.parametrize(("text", "shown"), UNSEEN.values(), ids=UNSEEN)
def test_what_is_unseen_is_escaped(text: str, shown: str) -> None:
    """Also where it stands beside a letter from right to left."""
    assert visible(text) == shown
    assert visible("\u05d0 " + text) == "\u05d0 " + shown


def test_every_character_is_seen_or_escaped() -> None:
    """Of all code points, none that is a mark, a space, a control or a format stays alone."""
    for number in range(sys.maxunicode + 1):
        shown = visible(f"1{chr(number)}")
        assert shown.isprintable()
        assert not any(category(each)[0] in "CM" or each.isspace() for each in shown.strip(" "))


@given(st.text())
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    """A guard that is passed twice says the same, and a cut isolate is closed."""
    shown = visible(text)
    assert visible(shown) == shown
    for limit in (5, 20):
        cut = clip("x" + isolated(shown), limit)
        assert len(cut) <= limit
        assert cut.count("\u2068") == cut.count("\u2069")


def test_a_code_span_cannot_be_ended() -> None:
    """Neither by a backtick nor by what becomes one when text is normalised."""
    for number in range(sys.maxunicode + 1):
        if not 0xD800 <= number < 0xE000:
            assert normalize("NFC", code(chr(number), 40)).count("`") == 2


def test_the_operators_text_is_shown_as_it_is_written() -> None:
    """Emoji with selectors and joiners, marks anywhere; only what is not printable is escaped."""
    name = "\u2699\ufe0f Zu\u0308rich \U0001f469\u200d\U0001f4bb"
    assert trusted(name) == name
    assert trusted_code(name, 120) == f"`{name}`"
    assert trusted("\u05d0\u0301\u202e\n") == "\u2068\u05d0\u0301\\u202e\\n\u2069"
    assert trusted_code("a`b", 120) == "`a'b`"


def test_columns_of_a_terminal() -> None:
    """Chinese takes two for a character, marks and isolates none."""
    assert [columns(text) for text in ("abc", "数据", "e\u0301", isolated("\u05d0"))] == [
        3,
        4,
        1,
        1,
    ]


def test_errors_quote_at_most_a_line() -> None:
    """What is quoted is visible and cut; of many wrong items the first are told, and how many."""
    assert brief("a\0\u200b") == "a\\x00\\u200b"
    assert len(brief("x" * 10**6)) == len(brief("\0" * 10**6)) == QUOTED_LIMIT
    assert at_most(["a", "b"], ERRORS_LIMIT) == "a; b"
    told = at_most([f"'{number}': is wrong" for number in range(4000)], ERRORS_LIMIT)
    assert told.startswith("'0': is wrong; '1': is wrong; ")
    assert told.endswith("more are wrong")
    assert len(told) < ERRORS_LIMIT + 40
    assert at_most(["x" * 300, "y"], ERRORS_LIMIT) == "x" * 300 + "; and 1 more is wrong"
