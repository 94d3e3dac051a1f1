"""A channel to a webhook, of whatever kind: one POST, and what came of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Protocol

from tcp_trace.notify.answers import error_word
from tcp_trace.notify.channel import DEADLINE, Fate, Rejected, Retry, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.notify.answers import Answer
    from tcp_trace.notify.channel import Payload

    Judge = Callable[[Answer, float], Fate]


class Url(Protocol):
    """The webhook's address, which is a secret."""

    def reveal(self) -> str:
        """Return the address itself."""


class HttpChannel:
    """A channel to one webhook.

    `url` is its address, `judge` says what an answer means at a time, `deadline` is the seconds
    after which a send is cut off, `wall` returns the seconds since the epoch. The first channel
    loads the HTTP library `requests`, 4 MB that a service without a webhook does not pay: make it
    before any thread runs, for two threads that import at once can wait for each other. Raises
    ModuleNotFoundError where `requests` is not installed.
    """

    def __init__(
        self,
        url: Url,
        judge: Judge,
        *,
        deadline: float = DEADLINE,
        wall: Callable[[], float] = time.time,
    ) -> None:
        try:
            from tcp_trace.notify.transport import Post  # noqa: PLC0415 - see above
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "a webhook is set, but Python's requests is missing: apt install python3-requests"
            ) from error
        self._url = url
        self._judge = judge
        self._wall = wall
        self._deadline = deadline
        self._post = Post(url.reveal(), deadline)

    @property
    def deadline(self) -> float:
        """Seconds after which a send is cut off (and returns half a second later at most)."""
        return self._deadline

    def send(self, payload: Payload) -> Fate:
        """Post the payload once and say what came of it; the reason never holds the address."""
        try:
            answer = self._post(json.dumps(payload).encode())
        except TransportError as error:
            if error.unusable:
                return Rejected(error.reason, dead=True)
            return Retry(None, error.reason)
        return self._judge(self._without_echo(answer), self._wall())

    def _without_echo(self, answer: Answer) -> Answer:
        """Return the answer without a word that is a part of the address: it would be logged."""
        word = error_word(answer.body)
        if word is not None and word in self._url.reveal():
            return answer._replace(body=b"")
        return answer
