"""The page of accuracy: what was told, beside what was true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kernel import accuracy
from tests.kernel.accuracy import Result, Run, Soak

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = Result("nobody listens", "IPv4", "blocking", 4, {"refused": 4}, {"refused": 4}, "")
TOO_MANY = Result(
    "answered oddly",
    "IPv4",
    "blocking",
    4,
    {"other: EPROTO": 4},
    {"refused": 1, "cancelled": 4},
    "",
)
BLIND = Result("no route", "IPv6", "its own", 2, {"network_unreachable": 2}, {}, "nobody can")
SOAK = Soak("6.1.0", "kprobe", "2026-01-01", 4, 61.4, 2000, 20, 30_000, 30_004)


def test_precision_and_recall() -> None:
    """One too many costs precision, one too few recall; what cannot be told is beside the table."""
    page = accuracy.page([Run("6.1.0-7", "kprobe", "2026-01-01", [REFUSED, TOO_MANY, BLIND])], [])
    assert "| refused | 4 | 5 | 0.800 | 1.000 |\n" in page
    assert "| cancelled | 0 | 4 | 0.000 | 0.000 |\n" in page
    assert "| other: EPROTO | 4 | 0 | 0.000 | 0.000 |\n" in page
    assert "| network_unreachable |" not in page
    assert "\n- no route (rows: 1): nobody can\n" in page
    assert "| 4 other: EPROTO, told 1 refused, 4 cancelled |\n" in page


def test_kernels_side_by_side(tmp_path: Path) -> None:
    """What was saved is read again, in the order of versions, rows joined by their names."""
    for kernel, results in (("6.12.1", [REFUSED]), ("6.1.0", [BLIND, REFUSED])):
        accuracy.save(tmp_path, Run(kernel, "kprobe", "2026-01-01", results))
    accuracy.save(tmp_path, SOAK)
    page = accuracy.page(accuracy.load(tmp_path), accuracy.load_soaks(tmp_path))
    assert "| case | address | waiting | 6.1.0 kprobe | 6.12.1 kprobe |\n" in page
    assert "| no route | IPv6 | its own | cannot tell | not run |\n" in page
    assert "| nobody listens | IPv4 | blocking | 4 refused | 4 refused |\n" in page
    soaked = "| 6.1.0, kprobe (2026-01-01) | 4 | 61 s | 2,000 | 20 | 0 | 0 | 0 |"
    assert f"{soaked} 30,000 → 30,004 kB |\n" in page
