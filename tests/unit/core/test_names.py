"""Which name may be said of an attempt, and that a hostile one is only text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.core.names import Told, choose, text

BEGAN = 100_000.0
A, B = b"\1a\3com", b"\1b\3com"


def told(name: bytes, since: float, seen: float, *, ttl: int = 60, other: float = 0) -> Told:
    """Return what was told so many seconds before the attempt began."""
    return Told(
        int((BEGAN - since) * 1e9),
        int((BEGAN - seen) * 1e9),
        int((BEGAN - other) * 1e9) if other else 0,
        ttl,
        name.ljust(128, b"\0"),
    )


@pytest.mark.parametrize(
    ("own", "shared", "name"),
    [
        (None, None, None),
        (told(A, 1, 1), None, "a.com"),
        (told(A, 1, 1), told(B, 2, 1), "a.com"),
        (told(A, 1, 1, other=2), None, "a.com"),
        (told(A, 90_000, 86_399), None, "a.com"),
        (told(A, 90_000, 86_401, ttl=2**32 - 1), None, None),
        (told(A, -1, -1), None, None),
        (told(A, 1, -1), None, "a.com"),
        (None, told(B, 4000, 3599), "b.com"),
        (None, told(B, 4000, 3601), None),
        (None, told(B, 9000, 7199, ttl=7200), "b.com"),
        (None, told(B, 9000, 7201, ttl=7200), None),
        (None, told(B, 90_000, 86_401, ttl=2**32 - 1), None),
        (None, told(B, -1, -1), None),
        (None, told(B, 1, 1, other=3599), None),
        (None, told(B, 1, 1, other=3601), "b.com"),
        (told(A, -1, -1), told(B, 5, 5), "b.com"),
    ],
)
def test_choice(own: Told | None, shared: Told | None, name: str | None) -> None:
    """Asked for before the attempt, not too long ago, and without another of somebody else."""
    assert choose(own, shared, BEGAN) == name


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
    shown = text(b"".join(bytes([len(label)]) + label for label in labels) + b"\0")
    assert shown is not None
    back = [
        "".join(
            chr(int(part[:3])) + part[3:] if number else part
            for number, part in enumerate(label.split("\\"))
        )
        for label in shown.split(".")
    ]
    assert [label.encode("latin-1") for label in back] == [label.lower() for label in labels]
