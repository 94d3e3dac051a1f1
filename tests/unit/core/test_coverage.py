"""The coverage: what was seen of what the kernel counted."""

from __future__ import annotations

import pytest

from tcp_trace.core.coverage import Audit, Counted, Coverage

BEGIN = Audit(seen=Counted(100, 10), kernel=Counted(5000, 700))


@pytest.mark.parametrize(
    ("kernel", "seen", "expected"),
    [
        (Counted(5000, 700), Counted(100, 10), Coverage(None, None, 0, 0)),
        (Counted(5040, 704), Counted(140, 14), Coverage(1.0, 1.0, 0, 0)),
        (Counted(5040, 704), Counted(130, 13), Coverage(0.75, 0.75, 10, 1)),
        (Counted(5040, 704), Counted(150, 19), Coverage(1.0, 1.0, 0, 0)),
        (Counted(5040, 700), Counted(140, 12), Coverage(1.0, None, 0, 0)),
        (Counted(5040, 698), Counted(140, 10), Coverage(1.0, None, 0, 0)),
    ],
    ids=["nothing yet", "all", "a gap", "seen and not counted", "no failures", "counted backwards"],
)
def test_coverage(kernel: Counted, seen: Counted, expected: Coverage) -> None:
    """Shares of what was counted since the beginning, and what is missing."""
    coverage = BEGIN.compare(kernel, seen)
    assert coverage == expected
    assert coverage.is_complete == (expected.attempts != 0.75)
