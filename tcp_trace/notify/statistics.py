"""What a sender did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What a sender did since it started.

    `logged` are those without a webhook, `resent` those of open alerts.
    `last_error` is safe to log, `last_error_at` its time in seconds since the epoch. `dead` says
    that the webhook takes nothing until somebody acts.
    """

    sent: int = 0
    retried: int = 0
    rejected: int = 0
    logged: int = 0
    resent: int = 0
    dead: bool = False
    last_error: str | None = None
    last_error_at: float | None = None
