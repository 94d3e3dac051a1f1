"""What every kind of webhook has to say of itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.answers import Answer
    from tcp_trace.notify.channel import Fate, Payload

    Renderer = Callable[[Notification, "Envelope"], Payload]


class Envelope(NamedTuple):
    """What a message says beside its notification.

    `host` is the name that people know this host by, `delayed_by` in seconds and None for a message
    that is on time, `mention` the markup for those to be woken. `wall` is the present, in seconds
    since the epoch.
    """

    host: str
    delayed_by: float | None = None
    mention: str = ""
    wall: float = math.inf


class Receiver(Protocol):
    """One kind of webhook. Each is a module of this package."""

    NAME: str
    """Its `type` in the file of routes."""
    FORGETS: bool
    """Whether it has to be sent again and again what still stands."""
    DELIVERED: str
    """What `test-alert` says when the test message was taken."""

    def address(self, text: str) -> str:
        """Return the URL to post to, of what a person wrote.

        Raises ValueError with a clause that completes "url: ..." and shows nothing of the text.
        """

    def renderer(self) -> Renderer:
        """Return what makes bodies to post. A webhook has its own, which may remember."""

    def judge(self, answer: Answer, wall: float) -> Fate:
        """Return what an answer means; `wall` (seconds since the epoch) reads dates in it."""

    def test_message(self, host: str, wall: float) -> Payload:
        """Return the body that `test-alert` posts."""


def test_text(host: str) -> str:
    """Return what a test message says, for people."""
    return (
        f"Test message of tcp_trace on {host}: failed TCP connects of this host will be told"
        " here. Nothing has failed."
    )
