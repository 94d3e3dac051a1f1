"""What to watch: `DEST_IP` as rules for the kernel's filter.

A rule is a network and a port. IPv4 is kept in its v4-mapped form (`::ffff:0:0/96`): one
longest-prefix map serves both families, and a v4-mapped socket is IPv4 without a special case.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tcp_trace.safetext import ERRORS_LIMIT, at_most, brief

if TYPE_CHECKING:
    from collections.abc import Callable

ItemT = TypeVar("ItemT")

ANY_PORT = 0

RULES_MAX = 4_096
"""The number of rules that the kernel's filter holds."""
ADDRESSES_MAX = 64
"""The number of addresses of one host that are watched at a time, each by a rule."""

_V4_MAPPED = 0xFFFF << 32
_RULE = (
    "is no address or network; write it like 10.0.0.0/8, 192.0.2.7:443, "
    "2001:db8::/32 or [2001:db8::1]:443"
)
_MEANT = (
    "is no address, network or host name; write it like 10.0.0.0/8, db.example.com:5432, "
    "*.example.com or [2001:db8::1]:443"
)


class Endpoint(NamedTuple):
    """Where a connect goes: an address, or the name that was asked for, or both, and the port."""

    address: str | None
    port: int
    name: str | None = None


class Rule(NamedTuple):
    """Watches connects to an address in `network` on `port` (`ANY_PORT` for all)."""

    network: IPv6Network
    port: int

    def __str__(self) -> str:
        """Return the rule as written in `DEST_IP`."""
        mapped = self.network.network_address.ipv4_mapped
        if mapped is not None and self.network.prefixlen >= 96:
            text = str(ip_network((int(mapped), self.network.prefixlen - 96))).removesuffix("/32")
        else:
            address, _, prefix = str(self.network).partition("/")
            text = f"[{address}]" + (f"/{prefix}" if prefix != "128" else "")
        return f"{text}:{self.port}" if self.port else text

    @property
    def is_single(self) -> bool:
        """Whether it means one address and port."""
        return self.port != ANY_PORT and self.network.prefixlen == self.network.max_prefixlen

    def holds(self, endpoint: Endpoint) -> bool:
        """Return whether it means this address and port."""
        return (
            endpoint.address is not None
            and self.port in (ANY_PORT, endpoint.port)
            and address_in_rules(endpoint.address) in self.network
        )


EVERYTHING = Rule(IPv6Network("::/0"), ANY_PORT)


class Host(NamedTuple):
    """Watches connects to any current address of `name`, on `port` (`ANY_PORT` for all)."""

    name: str
    port: int

    def __str__(self) -> str:
        """Return the host as written in `DEST_HOST`."""
        return f"{self.name}:{self.port}" if self.port else self.name

    def rule(self, address: str) -> Rule:
        """Return the rule for one of its addresses."""
        return Rule(_parse_rule(address).network, self.port)


class Name(NamedTuple):
    """Connects whose program asked for a name that `pattern` (`*`, `?`) fits, on `port`."""

    pattern: str
    port: int

    def __str__(self) -> str:
        """Return it as it would be written for a silence or a route."""
        return f"{self.pattern}:{self.port}" if self.port else self.pattern

    @property
    def is_single(self) -> bool:
        """Whether it means one name and port."""
        return self.port != ANY_PORT and not set(self.pattern) & set("*?")

    def holds(self, endpoint: Endpoint) -> bool:
        """Return whether it means this name and port."""
        return (
            endpoint.name is not None
            and self.port in (ANY_PORT, endpoint.port)
            and fnmatchcase(endpoint.name, self.pattern)
        )


_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PATTERN = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.*?-]{1,253}")


def parse_destinations(text: str) -> tuple[Rule | Host, ...]:
    """Parse a list as `parse_rules` does, also with host names. It may be empty."""
    return _each(text, lambda item: _host(item) or _parse_rule(item))


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Parse a comma-separated list of host names, each optionally with a port.

    Raises ValueError with a sentence for each wrong item: it names the item and the right syntax.
    """
    return _each(text, _parse_host)


def parse_meant(text: str) -> tuple[Rule | Name, ...]:
    """Parse a list as `parse_rules` does, with patterns of host names in it, too; () for none.

    A pattern means the name that a program asked for, whatever addresses it has.
    """
    return _each(text, lambda item: _name(item) or _parse_rule(item, _MEANT))


def _each(text: str, parse: Callable[[str], ItemT]) -> tuple[ItemT, ...]:
    """Parse comma-separated items, each once; report all errors, not only the first."""
    found: dict[ItemT, None] = {}
    errors: list[str] = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            found[parse(item)] = None
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError(at_most(errors, ERRORS_LIMIT))
    if len(found) > RULES_MAX:
        raise ValueError(f"{len(found)} are too many; write networks, {RULES_MAX} at most")
    return tuple(found)


def _parse_host(item: str) -> Host:
    host = _host(item)
    if host is None:
        raise ValueError(
            f"'{brief(item)}': is no host name; write it like db.example.com:5432 "
            "(addresses and networks belong in DEST_IP)"
        )
    return host


def _host(item: str) -> Host | None:
    """Return the host that an item names, None if it names none. The last label is not a number."""
    if "/" in item:
        return None
    name, port = _split_port(item)
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        return None
    return Host(name.lower(), port)


def _name(item: str) -> Name | None:
    """Return the pattern that an item is, None where it is none.

    It has a letter, and a dot or a port: a word alone is rather something that was mistyped.
    """
    if item.startswith("[") or "/" in item:
        return None
    pattern, port = _split_port(item)
    pattern = pattern.removesuffix(".")
    is_word = "." not in pattern and port == ANY_PORT
    last = pattern.rpartition(".")[2]
    if is_word or last.isdigit() or _PATTERN.fullmatch(pattern) is None:
        return None
    return Name(pattern.lower(), port)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Parse a comma-separated list of addresses and networks, each optionally with a port.

    Accepts `10.0.0.0/8`, `172.217.161.228:443`, `2001:db8::/32`, `[2001:db8::]/32`,
    `[2001:db8::1]:443` and `[2001:db8::]/32:443`. Empty text means every destination. Raises
    ValueError with a sentence for each wrong item: it names the item and the right syntax.
    """
    return _each(text, _parse_rule) or (EVERYTHING,)


@lru_cache(maxsize=4096)
def address_in_rules(address: str) -> IPv6Address:
    """Return an address as the rules have it: IPv4 in its v4-mapped form."""
    parsed = ip_address(address)
    return parsed if parsed.version == 6 else IPv6Address(_V4_MAPPED | int(parsed))


def _parse_rule(item: str, how: str = _RULE) -> Rule:
    if "%" in item:
        raise ValueError(
            f"'{brief(item)}': the interface is ignored; write the address without '%' and the "
            "rest, like [fe80::1]:443, to watch it on every interface"
        )
    text, port = _split_port(item)
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"'{brief(item)}': {_explain(text, error) or how}") from None
    if network.version == 4:
        mapped = _V4_MAPPED | int(network.network_address)
        return Rule(IPv6Network((mapped, network.prefixlen + 96)), port)
    return Rule(network, port)


def _split_port(item: str) -> tuple[str, int]:
    """Split `[2001:db8::]/32:443` into `2001:db8::/32` and 443, `ANY_PORT` for no port."""
    if item.startswith("[") and "]" in item:
        address, _, rest = item[1:].partition("]")
        prefix, colon, port = rest.partition(":")
        text = address + prefix
    elif item.count(":") == 1:
        text, colon, port = item.partition(":")
    else:
        return item, ANY_PORT
    if not colon:
        return text, ANY_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"'{brief(item)}': the port must be a number from 1 to 65535")
    return text, int(port)


def _explain(text: str, error: ValueError) -> str | None:
    if "host bits set" in str(error):
        return f"has host bits set; did you mean {ip_network(text, strict=False)}?"
    return None
