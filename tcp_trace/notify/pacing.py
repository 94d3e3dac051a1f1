"""How fast to send, and how long to wait after a failure."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """How a sender behaves towards its webhook; times in seconds.

    Slack takes about one message a second with short bursts, and may disable a webhook that goes
    on regardless. `delay_shown` is how old a message has to be before it says so.
    """

    rate: float = 1.0
    burst: int = 3
    first_backoff: float = 1.0
    longest_backoff: float = 300.0
    dead_pause: float = 900.0
    idle: float = 5.0
    delay_shown: float = 60.0


class Bucket:
    """A token bucket: `burst` tokens at first, `rate` new ones a second."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token, 0 where there is one."""
        self._refill(now)
        return max(0.0, 1.0 - self._tokens) / self._rate

    def take(self, now: float) -> None:
        """Use a token."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class Backoff:
    """Exponential backoff with full jitter: many hosts lose one Slack at the same moment."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._rng = random.Random()  # noqa: S311 - jitter is no secret
        self._failures = 0

    def next(self, after: float | None) -> float:
        """Return the seconds to wait after one more failure.

        `after` is what the other side asked for: never less than that, and spread above it. One
        below the first backoff is no pause at all, and is not taken at its word.
        """
        first, longest = self._pacing.first_backoff, self._pacing.longest_backoff
        # The exponent is bounded: 2.0**1024 overflows after a long enough outage.
        ceiling = min(longest, first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        if after is not None and after >= first:
            return after + self._rng.uniform(0.0, first)
        return max(first, self._rng.uniform(0.0, ceiling))

    def reset(self) -> None:
        """Start over: the other side answered."""
        self._failures = 0


class Gate:
    """When a webhook may be sent to next.

    The sender's thread goes through it; whoever reloads the configuration opens it. A send that
    began before that, in another era, closes it no more.
    """

    def __init__(self, pacing: Pacing, now: float) -> None:
        self._bucket = Bucket(pacing.rate, pacing.burst, now)
        self._backoff = Backoff(pacing)
        self._not_before = now
        self._era = 0
        self._lock = threading.Lock()

    def wait(self, now: float) -> float:
        """Return the seconds until something may be sent, 0 or less for now."""
        return max(self._not_before - now, self._bucket.wait(now))

    def enter(self, now: float) -> int:
        """Send something; return the era in which it is sent."""
        self._bucket.take(now)
        return self._era

    def is_current(self, era: int) -> bool:
        """Whether nobody opened it since."""
        return era == self._era

    def open(self, now: float) -> None:
        """Let something be sent now, whatever came of the sends before."""
        with self._lock:
            self._era += 1
            self._backoff.reset()
            self._not_before = now

    def answered(self) -> None:
        """Note that the other side answered: it is not to be spared any more."""
        self._backoff.reset()

    def back_off(self, after: float | None, now: float, era: int) -> float:
        """Wait longer after each failure in a row (see `Backoff.next`); return the seconds."""
        pause = self._backoff.next(after)
        self.close(pause, now, era)
        return pause

    def close(self, seconds: float, now: float, era: int) -> None:
        """Send nothing for so long."""
        with self._lock:
            if era == self._era:
                self._not_before = now + seconds
