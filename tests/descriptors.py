"""Descriptors of a process that runs: it may close any of them while they are read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def infos(pid: int | str) -> dict[int, str]:
    """Return what the kernel says of each."""
    found: dict[int, str] = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found[int(info.name)] = info.read_text()
    return found


def links(pid: int | str) -> list[str]:
    """Return what each leads to."""
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))  # noqa: PTH115 - many lead to no path
    return found
