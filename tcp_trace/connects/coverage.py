"""Coverage: which share of the kernel's own counts was seen.

The counts are of one network namespace and never reset, so two looks at them make an interval.
Connects that only one of kernel and service can see are subtracted before they are compared.
An interval is compared for itself: a surplus of one never makes up for a gap in another.
"""

from __future__ import annotations

from typing import NamedTuple

TOLERANCE = 3
"""Unseen attempts, and failures, that may be connects under way while the counters were read."""


class Kernel(NamedTuple):
    """The kernel's own counts: names of RFC 4022 and of `nstat`.

    `AttemptFails` also counts handshakes of others that a peer reset; `EmbryonicRsts` are those of
    them that were not Fast Open's. `overflows` are resets that `EmbryonicRsts` may hold beside.
    """

    active_opens: int
    attempt_fails: int
    embryonic_rsts: int
    overflows: int = 0


class Seen(NamedTuple):
    """The kernel program's counts.

    `attempts` sent a SYN, `failures` were ended by an error. `passive` is how often `AttemptFails`
    counts handshakes of others that Fast Open began.
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
        """Whether nothing is unseen."""
        return not self.unseen_attempts and not self.unseen_failures

    @property
    def is_certain(self) -> bool:
        """Whether more is unseen, if anything, than connects under way explain."""
        return self.is_complete or max(self.unseen_attempts, self.unseen_failures) > TOLERANCE

    def and_then(self, later: Coverage) -> Coverage:
        """Return the coverage of both times."""
        return Coverage(*map(sum, zip(self, later, strict=True)))

    def shares(self) -> dict[str, float | None]:
        """Return the shares that were seen, None where the kernel counted nothing."""
        return {
            "attempts": _share(self.unseen_attempts, self.attempts),
            "failures": _share(self.unseen_failures, self.failures),
        }


class Begin(NamedTuple):
    """The begin of an interval. `kernel` was read after `seen`."""

    seen: Seen
    kernel: Kernel


class End(NamedTuple):
    """The end of an interval. `kernel` was read before `seen`.

    They cannot be read at one moment. Read in this order, what happens in between never looks like
    a gap.
    """

    kernel: Kernel
    seen: Seen


def compare(begin: Begin, end: End) -> Coverage:
    """Return the coverage of an interval."""
    kernel = Kernel(*(now - then for now, then in zip(end.kernel, begin.kernel, strict=True)))
    seen = Seen(*(now - then for now, then in zip(end.seen, begin.seen, strict=True)))
    failures = max(0, kernel.attempt_fails - kernel.embryonic_rsts - seen.passive)
    if kernel.overflows:  # it cannot be told how many of AttemptFails are attempts
        failures = 0
    return Coverage(
        kernel.active_opens,
        failures,
        max(0, kernel.active_opens - seen.attempts),
        max(0, failures - seen.failures),
    )


def _share(unseen: int, counted: int) -> float | None:
    return 1 - unseen / counted if counted > 0 else None
