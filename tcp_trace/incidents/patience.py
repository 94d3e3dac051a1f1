"""How long the end of an incident waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.topics import subject_of

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import Subject

REMEMBERED_ENDS = 1000


class Patience:
    """How many times `Policy.resolve_after` a subject (None: a storm) must be well.

    A subject that fails again soon after it was called recovered is believed later the next
    time. So one that fails now and then, for ever, becomes one incident that stays open instead
    of two messages every few minutes.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._ended: dict[Subject | None, tuple[float, int]] = {}

    def begin(self, key: Subject | None, now: Moment) -> int:
        """Return the patience for an incident that begins now."""
        ended, patience = self._ended.pop(key, (now.mono, 0))
        if patience == 0 or now.mono - ended > self.policy.flap_window:
            return 1
        return min(2 * patience, self.policy.max_patience)

    def end(self, key: Subject | None, now: Moment, patience: int) -> None:
        """Remember that an incident ended now."""
        self._ended[key] = (now.mono, patience)
        if len(self._ended) > REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def dump(self) -> list[Any]:
        """Return what is remembered, for JSON."""
        return [[key, mono, patience] for key, (mono, patience) in self._ended.items()]

    def load(self, saved: list[Any], shift: float) -> None:
        """Remember what `dump` returned; `shift` is added to its times."""
        for key, mono, patience in saved:
            subject = None if key is None else subject_of(key)
            self._ended[subject] = (mono + shift, int(patience))
