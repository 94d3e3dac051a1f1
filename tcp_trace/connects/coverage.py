"""Coverage: the share of the kernel's own counts that was seen.

The counts are per network namespace and never reset, so two readings make an interval. Connects
that only the kernel or only the service can see are subtracted before comparing. Each interval is
compared alone: a surplus in one never makes up for a gap in another.
"""

from __future__ import annotations

from typing import NamedTuple

TOLERANCE = 3
"""Unseen attempts or failures that connects under way during the reading can explain."""


class Kernel(NamedTuple):
    """The kernel's own counts, named as in RFC 4022 and `nstat`.

    `AttemptFails` also counts passive handshakes that the peer reset; `EmbryonicRsts` counts those
    of them that Fast Open did not begin. `overflows` are resets that `EmbryonicRsts` may count in
    addition.
    """

    active_opens: int
    attempt_fails: int
    embryonic_rsts: int
    overflows: int = 0


class Seen(NamedTuple):
    """The kernel program's counts.

    `attempts` sent a SYN; `failures` ended with an error. `passive` counts, as `AttemptFails` does,
    failures of passive handshakes that Fast Open began.
    """

    attempts: int
    failures: int
    passive: int


class Coverage(NamedTuple):
    """The kernel's counts of an interval, and the unseen part of them."""

    attempts: int = 0
    failures: int = 0
    unseen_attempts: int = 0
    unseen_failures: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything was seen."""
        return not self.unseen_attempts and not self.unseen_failures

    @property
    def is_certain(self) -> bool:
        """Whether all was seen, or more is unseen than connects under way can explain."""
        return self.is_complete or max(self.unseen_attempts, self.unseen_failures) > TOLERANCE

    def and_then(self, later: Coverage) -> Coverage:
        """Return the coverage of both intervals together."""
        return Coverage(*map(sum, zip(self, later, strict=True)))

    def shares(self) -> dict[str, float | None]:
        """Return the shares seen, from 0 to 1; None if the kernel counted nothing."""
        return {
            "attempts": _share(self.unseen_attempts, self.attempts),
            "failures": _share(self.unseen_failures, self.failures),
        }


class Begin(NamedTuple):
    """The beginning of an interval. `kernel` was read after `seen`."""

    seen: Seen
    kernel: Kernel


class End(NamedTuple):
    """The end of an interval. `kernel` was read before `seen`.

    The two cannot be read at the same moment. In this order, connects in between never look like a
    gap.
    """

    kernel: Kernel
    seen: Seen


def compare(begin: Begin, end: End) -> Coverage:
    """Return the coverage of an interval."""
    kernel = Kernel(*(now - then for now, then in zip(end.kernel, begin.kernel, strict=True)))
    seen = Seen(*(now - then for now, then in zip(end.seen, begin.seen, strict=True)))
    failures = max(0, kernel.attempt_fails - kernel.embryonic_rsts - seen.passive)
    if kernel.overflows:  # the number of attempts in AttemptFails is unknown
        failures = 0
    return Coverage(
        kernel.active_opens,
        failures,
        max(0, kernel.active_opens - seen.attempts),
        max(0, failures - seen.failures),
    )


def _share(unseen: int, counted: int) -> float | None:
    return 1 - unseen / counted if counted > 0 else None
