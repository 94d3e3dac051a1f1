"""The C library, for system calls that Python has none for. Loaded when it is first used."""

from __future__ import annotations

import ctypes as ct
from functools import cache


@cache
def libc() -> ct.CDLL:
    """Return it; `ctypes.get_errno()` has the error of the last call."""
    return ct.CDLL(None, use_errno=True)
