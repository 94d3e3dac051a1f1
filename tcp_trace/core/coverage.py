"""How much of what the kernel counted itself was seen: the service's audit of itself."""

from __future__ import annotations

from typing import NamedTuple


class Counted(NamedTuple):
    """Attempts that sent a SYN and those that an error ended, in one network namespace."""

    attempts: int
    failures: int


class Coverage(NamedTuple):
    """What was seen of what the kernel counted, as shares; None where it counted nothing.

    Never above 1: a failure that an error was reported of before the application gave up is seen
    as one and not counted by the kernel.
    """

    attempts: float | None
    failures: float | None
    unseen_attempts: int
    unseen_failures: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is known to be unseen."""
        return not self.unseen_attempts and not self.unseen_failures


class Audit:
    """Compares both counts since it began.

    They cannot be read at the same moment. The kernel's is to be read after the other at the
    beginning and before it later: then what happens in between never looks like a gap.
    """

    def __init__(self, seen: Counted, kernel: Counted) -> None:
        self._seen, self._kernel = seen, kernel

    def compare(self, kernel: Counted, seen: Counted) -> Coverage:
        """Return the coverage up to now."""
        attempts = kernel.attempts - self._kernel.attempts
        failures = kernel.failures - self._kernel.failures
        unseen_attempts = max(0, attempts - (seen.attempts - self._seen.attempts))
        unseen_failures = max(0, failures - (seen.failures - self._seen.failures))
        return Coverage(
            _share(unseen_attempts, attempts),
            _share(unseen_failures, failures),
            unseen_attempts,
            unseen_failures,
        )


def _share(unseen: int, counted: int) -> float | None:
    return 1 - unseen / counted if counted > 0 else None
