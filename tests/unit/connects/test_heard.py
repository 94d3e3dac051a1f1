"""Which name may be said of an attempt, and that a hostile one is only text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.heard import Heard, Told, choose, text, wire

BEGAN = 100_000.0
DAY, HOUR = 86_400, 3_600
A, B = b"\1a\3com", b"\1b\3com"
BORN = 10**9
NEVER = Heard(None, 0, 0)


def ns(before: float) -> int:
    """Return the time so many seconds before the attempt began."""
    return int((BEGAN - before) * 1e9)


def told(
    name: bytes, since: float, seen: float, *, lasts: float = HOUR, other: float | None = None
) -> Told:
    """Return what was told so many seconds before the attempt began; `other` counted until then."""
    until = 0 if other is None else ns(other)
    padded = name.ljust(128, b"\0")
    return Told(ns(since), ns(seen), ns(seen - lasts), until, BORN, 60, True, padded)  # noqa: FBT003


def heard(one: Told, *, marked: float | None = None, doubted: float | None = None) -> Heard:
    """Return what was heard, with what happened so many seconds before the attempt began."""
    return Heard(
        one,
        one.seen if marked is None else ns(marked),
        0 if doubted is None else ns(doubted),
    )


def chosen(own: Heard, *shared: Heard, born: int = BORN) -> str | None:
    """Return the name that is said."""
    return choose(own, born, lambda: shared, BEGAN)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (heard(told(A, 1, 1)), "a.com"),
        (heard(told(A, 1, 1, other=-5)), "a.com"),
        (heard(told(A, DAY + 9, DAY - 1, lasts=DAY)), "a.com"),
        (heard(told(A, DAY + 9, DAY + 1, lasts=DAY)), None),
        (heard(told(A, -1, -1)), None),
        (heard(told(A, 1, -1)), "a.com"),
        (heard(told(A, 5, 3), doubted=4), "a.com"),
        (heard(told(A, 5, 3), doubted=3), "a.com"),
        (heard(told(A, 5, 3), doubted=2), None),
        (heard(told(A, 5, 3), doubted=-2), None),
        (Heard(None, ns(3), 0), None),
        (Heard(None, 0, ns(3)), None),
        (Heard(None, BORN, 0), None),
        (Heard(None, BORN - 1, BORN - 1), "b.com"),
        (NEVER, "b.com"),
    ],
)
def test_own_names(own: Heard, name: str | None) -> None:
    """One asked for before the attempt, as the last one; without any, and only then, a shared one.

    A process that may have been told anything for the address gets nobody else's name.
    """
    assert chosen(own, heard(told(B, 2, 1))) == name


def test_a_process_with_the_pid_of_an_earlier_one() -> None:
    """It does not get the earlier one's name, but a shared one."""
    own = heard(told(A, BEGAN - 2, BEGAN - 3, lasts=DAY))
    later = BORN + 10**10
    assert chosen(own, born=later) is None
    assert chosen(own, heard(told(B, 2, 1)), born=later) == "b.com"


@pytest.mark.parametrize(
    ("shared", "name"),
    [
        ([], None),
        ([NEVER], None),
        ([heard(told(A, 5, 5))], "a.com"),
        ([heard(told(A, 4000, 3599))], "a.com"),
        ([heard(told(A, 4000, 3601))], None),
        ([heard(told(A, -1, -1))], None),
        ([heard(told(A, 5, 5, other=0))], None),
        ([heard(told(A, 5, 5, other=-9))], None),
        ([heard(told(A, 5, 5, other=1))], "a.com"),
        ([heard(told(A, 5, 5), doubted=4)], None),
        ([heard(told(A, 5, 5)._replace(sure=False))], None),
        ([heard(told(A, 5, 5)), NEVER], "a.com"),
        ([heard(told(A, 5, 5)), heard(told(A, 9, 8))], "a.com"),
        ([heard(told(A, 5, 5)), heard(told(B, 9, 8))], None),
        ([heard(told(A, 5, 5)), heard(told(B, 9000, 8000))], "a.com"),
        ([heard(told(A, 5, 5)), heard(told(A, 9, 8), doubted=1)], None),
        ([heard(told(A, 5, 5)), Heard(None, ns(DAY - 1), 0)], None),
        ([heard(told(A, 5, 5)), Heard(None, ns(DAY + 1), 0)], "a.com"),
        ([heard(told(A, 5, 5)), Heard(None, 0, ns(1))], "a.com"),
    ],
)
def test_shared_names(shared: list[Heard], name: str | None) -> None:
    """The only one that any of those users was told, and none that may be missing."""
    assert chosen(NEVER, *shared) == name


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"\2db\7example\3com\0", "db.example.com"),
        (b"\4_srv\4x--y\0garbage", "_srv.x--y"),
        (b"\2DB\0", "db"),
        (b"\7a.b@\n\xff\0\0", r"a\046b\064\010\255\000"),
        (b"\0", None),
        (b"", None),
        (b"\5ab\0", None),
        (b"\xc0\x0c", None),
        (b"\x40" + b"a" * 64, None),
    ],
)
def test_text(wire: bytes, expected: str | None) -> None:
    """Letters, digits, "-" and "_" stand for themselves, all else is a number, damage nothing."""
    assert text(wire) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_harmless(wire: bytes) -> None:
    """Whatever is there, what is shown is short and made of a few plain characters."""
    shown = text(wire)
    if shown is not None:
        assert set(shown) <= set(string.ascii_lowercase + string.digits + "-_.\\")
        assert 0 < len(shown) <= 4 * len(wire)


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=8))
def test_different_names_look_different(labels: list[bytes]) -> None:
    """The text tells the name: labels can be read back from it."""
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    shown = text(encoded)
    assert shown is None or wire(shown) == encoded.lower()
    assert shown is not None
    back = [
        "".join(
            chr(int(part[:3])) + part[3:] if number else part
            for number, part in enumerate(label.split("\\"))
        )
        for label in shown.split(".")
    ]
    assert [label.encode("latin-1") for label in back] == [label.lower() for label in labels]
