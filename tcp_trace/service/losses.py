"""Known losses: each is a metric, and a line in the log.

`LOSSES` lists them. A loss of failures is logged at every look; of the others, which may go on all
day, the log has a line an hour.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

QUIET_SECONDS = 3600.0
"""Seconds between two lines about a loss that costs no known failure."""


class Loss(NamedTuple):
    """A kind of loss: its count, its metric with the help text, and its line in the log."""

    name: str
    metric: str
    help: str
    level: int
    sentence: str


LOSSES = (
    Loss(
        "lost",
        "records_lost",
        "Records that a full ring could not take.",
        logging.ERROR,
        "records were lost: the ring was full; raise RING_MB",
    ),
    Loss(
        "held_full",
        "failures_held_lost",
        "Failures beyond a budget that could not be counted.",
        logging.ERROR,
        "failures beyond a budget were too many kinds at once: they are in no message",
    ),
    Loss(
        "evicted",
        "attempts_evicted",
        "Attempts that ended after their entry was gone.",
        logging.INFO,
        "attempts ended that began before the service, or whose entry was evicted",
    ),
    Loss(
        "missed",
        "transitions_missed",
        "Transitions that were not seen, as later ones show.",
        logging.WARNING,
        "changes of state were not seen: an attempt may be missing",
    ),
    Loss(
        "impossible",
        "transitions_impossible",
        "Transitions that no TCP socket makes; they are dropped.",
        logging.WARNING,
        "dropped changes of state that no TCP socket makes; please report this",
    ),
    Loss(
        "missed_returns",
        "returns_missed",
        "Returns of connect() that were not seen.",
        logging.INFO,
        "returns of connect() were not seen: a failure that sent no SYN may be missing",
    ),
    Loss(
        "names_unkept",
        "names_unkept",
        "DNS answers that could not be kept in full.",
        logging.INFO,
        "DNS answers could not be kept in full: destinations may have no name",
    ),
)


class Losses:
    """Compares the counts of now with those of the last line. It belongs to the poll loop."""

    def __init__(self, told: Mapping[str, int] | None = None) -> None:
        self._told = dict(told or {})
        self._quiet_until: dict[str, float] = {}

    @property
    def told(self) -> dict[str, int]:
        """Those of the last line about each."""
        return dict(self._told)

    def check(self, counts: Mapping[str, int], now: float) -> None:
        """Log what was lost since the last line about it. `now` is monotonic, in seconds."""
        for loss in LOSSES:
            total = counts[loss.name]
            new = total - self._told.get(loss.name, 0)
            if new <= 0 or now < self._quiet_until.get(loss.name, now):
                continue
            self._told[loss.name] = total
            if loss.level < logging.ERROR:
                self._quiet_until[loss.name] = now + QUIET_SECONDS
            log.log(loss.level, "%s", loss.sentence, extra={"lost": new, "lost_total": total})
