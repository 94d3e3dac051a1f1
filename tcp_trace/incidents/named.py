"""Destinations that people asked for by address or by name: those are told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.watch import ANY_PORT, Host, Rule, address_in_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tcp_trace.incidents.subjects import AnyFailure

_SINGLE = 128


class Named:
    """The addresses and host names among what is watched; a network names nothing."""

    def __init__(self, watched: Iterable[Rule | Host] = ()) -> None:
        watched = tuple(watched)
        self._addresses = {
            (int(rule.network.network_address), rule.port)
            for rule in watched
            if isinstance(rule, Rule) and rule.network.prefixlen == _SINGLE
        }
        hosts = (each for each in watched if isinstance(each, Host))
        self._hosts = {(host.name.removesuffix("."), host.port) for host in hosts}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and (self._addresses, self._hosts) == (
            other._addresses,
            other._hosts,
        )

    def __hash__(self) -> int:
        return hash((frozenset(self._addresses), frozenset(self._hosts)))

    def has(self, failure: AnyFailure) -> bool:
        """Return whether the subject of a failure is named, by either."""
        endpoint, subject = failure.place.endpoint, failure.subject.endpoint
        if endpoint is None or subject is None:
            return False
        if any(self._is_among(self._hosts, h, endpoint.port) for h in (failure.host, subject.name)):
            return True
        if not self._addresses or endpoint.address is None:
            return False
        address = int(address_in_rules(endpoint.address))
        return self._is_among(self._addresses, address, endpoint.port)

    @staticmethod
    def _is_among(known: Collection[tuple[object, int]], what: object, port: int) -> bool:
        return (what, port) in known or (what, ANY_PORT) in known


NOBODY = Named()
