"""What a channel is, and what can come of one send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    Payload = dict[str, Any] | list[dict[str, Any]]

DEADLINE = 20.0
"""Seconds after which a send is cut off, unless a channel is given another time."""


class Sent(NamedTuple):
    """The other side has the message."""


class Retry(NamedTuple):
    """Not this time: try again, `after` seconds from now where the other side named a time.

    It may have arrived all the same (a timeout, a status 500): what is tried again can come twice.
    """

    after: float | None
    reason: str


class Rejected(NamedTuple):
    """The other side will never take it.

    With `dead` no message will be taken until a person acts, so the message is kept; without it
    this message is at fault, and another one may pass.
    """

    reason: str
    dead: bool


Fate = Sent | Retry | Rejected


class TransportError(Exception):
    """No complete answer came; `str()` of it is safe to log.

    `causes` are the names of the classes and numbers of the errors that led to it; `unusable` says
    that the address itself is wrong.
    """

    def __init__(self, reason: str, causes: Iterable[str] = (), *, unusable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.causes = frozenset(causes)
        self.unusable = unusable


class Channel(Protocol):
    """A way to people. `reason` in its fates is safe to log: it never holds the secret."""

    @property
    def deadline(self) -> float:
        """Seconds after which `send` gives up, and returns soon."""

    def send(self, payload: Payload) -> Fate:
        """Try once to deliver the payload, without raising for anything the network does."""
