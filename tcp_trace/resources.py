"""Finds the files that are not Python: `bpf/`, `systemd/`, `logrotate/`.

They are at the top level of a checkout, and inside the package when installed.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def directory(name: str) -> Path:
    """Return the directory `name`, installed or in a checkout; `tcp_trace` is the package."""
    if name == _PACKAGE.name:
        return _PACKAGE
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
