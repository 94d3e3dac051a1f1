"""A destination by the name that was asked for: what people hear of where a name is known."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from tcp_trace.connects.watch import Endpoint


class HostPort(NamedTuple):
    """The destination of a connect whose program asked for a name.

    `host` is that name in lower case without the dot at its end, as `heard.text` writes it: plain
    ASCII of bounded length, and untrusted, since a program may ask for any name. Whatever addresses
    it has, it is one destination. `netns`, `netns_mix` and `interface` are as in `Destination`.
    """

    host: str
    port: int
    netns: int = 0
    netns_mix: int = 0
    interface: str = ""
    kind: Literal["host"] = "host"

    def __str__(self) -> str:
        """`db.example.com:5432`, or `db.example.com%red:5432` over an interface."""
        host = f"{self.host}%{self.interface}" if self.interface else self.host
        return f"{host}:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        """The name and port by which silences and routes mean it."""
        return Endpoint(None, self.port, self.host)

    @property
    def site(self) -> HostPort:
        """Name, port and interface: the same in every network namespace."""
        return HostPort(self.host, self.port, interface=self.interface)

    def published(self) -> dict[str, Any]:
        """Return what others may know, as `Destination` does."""
        return {name: value for name, value in self._asdict().items() if name != "netns_mix"}
