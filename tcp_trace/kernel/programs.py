"""Reads the kernel's statistics of programs, by their descriptors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def missed_runs(programs: Iterable[int]) -> int:
    """Return how often programs did not run because they were already running on that CPU.

    `programs` are their descriptors. The kernel counts this since commit 9ed9e9ba2337 (in v5.12).
    """
    infos = map(_fdinfo, programs)
    found = (re.search(r"^recursion_misses:\s*(\d+)$", info, re.MULTILINE) for info in infos)
    return sum(int(misses[1]) for misses in found if misses)


def _fdinfo(fd: int) -> str:
    try:
        return Path(f"/proc/self/fdinfo/{fd}").read_text()
    except PermissionError:
        # The fdinfo of a non-dumpable process belongs to root until commit 7bc3fa0172a4 ("procfs:
        # allow reading fdinfo with PTRACE_MODE_READ", in v5.14).
        return ""
