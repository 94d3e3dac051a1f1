"""`DEST_IP` and `DEST_HOST` as people write them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network

import pytest

from tcp_trace.connects.watch import (
    EVERYTHING,
    RULES_MAX,
    Endpoint,
    Host,
    Name,
    Rule,
    parse_destinations,
    parse_hosts,
    parse_meant,
    parse_rules,
)
from tcp_trace.safetext import QUOTED_LIMIT


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


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        ("db.example.com", [("db.example.com", 0)]),
        (" DB.example.com:5432 , api ,", [("db.example.com", 5432), ("api", 0)]),
        ("a,a:1,a", [("a", 0), ("a", 1)]),
        ("_x.my-host.example.com.", [("_x.my-host.example.com.", 0)]),
    ],
)
def test_hosts(text: str, hosts: list[tuple[str, int]]) -> None:
    """Hosts are names with or without a port, in lower case, each once."""
    assert [tuple(host) for host in parse_hosts(text)] == hosts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.5", "DEST_IP"),
        ("10.0.0.300", "DEST_IP"),
        ("10.0.0.5:443", "DEST_IP"),
        ("10.0.0.0/8", "DEST_IP"),
        ("2001:db8::1", "DEST_IP"),
        ("[2001:db8::1]:443", "DEST_IP"),
        ("db:0", "the port must be"),
        ("db:http", "the port must be"),
        ("a..b", "write it like"),
        ("-a", "write it like"),
        ("a b", "write it like"),
        ("b\u00fccher.example", "write it like"),
        ("a" * 64, "write it like"),
        (".".join(["a" * 60] * 5), "write it like"),
        ("https://db.example.com", "DEST_IP"),
    ],
)
def test_errors_of_hosts_name_the_item(text: str, words: str) -> None:
    """What is no host name is refused with a sentence that says what to write instead."""
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_hosts(text)
    shown = text if len(text) <= QUOTED_LIMIT else f"{text[: QUOTED_LIMIT - 1]}\u2026"
    assert f"'{shown}'" in str(caught.value)


def test_names_among_addresses() -> None:
    """A list of destinations may have names; what is neither is refused as no address."""
    mixed = parse_destinations("10.0.0.5:443,db:5432,2001:db8::1,db:5432,fe80")
    assert list(map(str, mixed)) == ["10.0.0.5:443", "db:5432", "[2001:db8::1]", "fe80"]
    assert [type(one) for one in mixed] == [Rule, Host, Rule, Host]
    assert parse_destinations(" ,") == ()
    for wrong in ("10.0.0.300", "10.0.0.1/8", "b c", "db:0", "db/8"):
        with pytest.raises(ValueError, match=f"^'{wrong}': "):
            parse_destinations(wrong)


@pytest.mark.parametrize("item", ["fe80::1%eth7", "[fe80::1%eth7]:443", "fe80::1%eth7:443"])
def test_an_interface_is_refused(item: str) -> None:
    """The filter knows no interfaces: the error says so, and what to write instead."""
    for parse in (parse_rules, parse_destinations):
        with pytest.raises(ValueError, match=rf"^'{re.escape(item)}': .* like \[fe80::1\]:443"):
            parse(item)


def test_rule_of_a_host() -> None:
    """An address of a host is watched on the host's port."""
    (host,) = parse_hosts("db:5432")
    assert (str(host), str(host.rule("10.0.0.5"))) == ("db:5432", "10.0.0.5:5432")


def test_every_wrong_item_is_told() -> None:
    """Who corrects the first item does not have to come back for the second."""
    with pytest.raises(ValueError, match=r"^'banana': is no .*; '10\.0\.0\.1/8': has host bits"):
        parse_rules("banana, 10.0.0.1, 10.0.0.1/8")
    with pytest.raises(ValueError, match=r"^'10\.0\.0\.5': is no .*; 'a b': is no host name"):
        parse_hosts("10.0.0.5,db,a b")


def test_more_rules_than_the_filter_holds() -> None:
    """What the kernel could not take is refused here; the same rule twice counts once."""
    fits = [f"10.0.{n // 250}.{n % 250}" for n in range(RULES_MAX)]
    assert len(parse_rules(",".join([*fits, fits[0]]))) == RULES_MAX
    with pytest.raises(ValueError, match=f"{RULES_MAX + 1} are too many"):
        parse_rules(",".join([*fits, "::1"]))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("db.example.com", Name("db.example.com", 0)),
        ("DB.Example.com.:5432", Name("db.example.com", 5432)),
        ("*.example.com:443", Name("*.example.com", 443)),
        ("db:5432", Name("db", 5432)),
        ("db-?.example.com", Name("db-?.example.com", 0)),
    ],
)
def test_names_that_are_meant(text: str, meant: Name) -> None:
    """Patterns of names are lower case, and written as they are read."""
    assert parse_meant(text) == (meant,)
    assert parse_meant(str(meant)) == (meant,)


def test_a_rule_means_an_address_and_a_name_a_name() -> None:
    """A program may ask for a name that looks like an address: it is none."""
    (rule,), (name,) = parse_rules("10.0.0.5"), parse_meant("*.example.com:443")
    assert rule.holds(Endpoint("10.0.0.5", 1, "db.example.com"))
    assert not rule.holds(Endpoint(None, 1, "10.0.0.5"))
    assert name.holds(Endpoint("10.0.0.5", 443, "a.example.com"))
    assert not name.holds(Endpoint("10.0.0.5", 444, "a.example.com"))
    assert not name.holds(Endpoint("10.0.0.5", 443))
    assert not name.holds(Endpoint(None, 443, "a.example.com.evil.example"))


@pytest.mark.parametrize(
    ("text", "is_single"),
    [
        ("10.0.0.5:5432", True),
        ("10.0.0.5", False),
        ("10.0.0.0/24:5432", False),
        ("[2001:db8::1]:443", True),
        ("db.example.com:5432", True),
        ("db.example.com", False),
        ("*.example.com:5432", False),
    ],
)
def test_what_is_one_destination(text: str, *, is_single: bool) -> None:
    """One address or name, and its port."""
    (meant,) = parse_meant(text)
    assert meant.is_single is is_single
