"""`DEST_IP` as people write it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from tcp_trace.core.watch import EVERYTHING, Rule, parse_rules


@pytest.mark.parametrize("text", ["", "  ", ",", " , "])
def test_empty_means_everything(text: str) -> None:
    """No destination named watches every destination."""
    assert parse_rules(text) == (EVERYTHING,)


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.0.0.0/8", "::ffff:a00:0/104", 0),
        ("172.217.161.228:443", "::ffff:acd9:a1e4/128", 443),
        ("192.0.2.0/24:5432", "::ffff:c000:200/120", 5432),
        ("2001:db8::/32", "2001:db8::/32", 0),
        ("[2001:db8::]/32", "2001:db8::/32", 0),
        ("[2001:db8::]/32:443", "2001:db8::/32", 443),
        ("[2001:db8::1]:443", "2001:db8::1/128", 443),
        ("::1", "::1/128", 0),
        ("0.0.0.0/0", "::ffff:0:0/96", 0),
    ],
)
def test_forms(text: str, network: str, port: int) -> None:
    """Addresses and networks of both families are understood, with and without a port."""
    (rule,) = parse_rules(text)
    assert rule == Rule(IPv6Network(network), port)
    assert parse_rules(str(rule)) == (rule,)


def test_list() -> None:
    """Items are separated by commas, blanks around them do not count, repeats are one."""
    rules = parse_rules("10.0.0.1, 10.0.0.1 ,[::1]:80,")
    assert [str(rule) for rule in rules] == ["10.0.0.1", "[::1]:80"]
    assert IPv6Address("::ffff:10.0.0.1") in rules[0].network


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.0/8,banana", "'banana': is no address"),
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("10.0.0.1:0", "from 1 to 65535"),
        ("10.0.0.1:65536", "from 1 to 65535"),
        ("[::1]:http", "from 1 to 65535"),
        ("[::1", "is no address"),
        ("10.0.0.0/33", "is no address"),
    ],
)
def test_errors_name_the_item(text: str, words: str) -> None:
    """A bad item is refused in one sentence that names it."""
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        parse_rules(text)
