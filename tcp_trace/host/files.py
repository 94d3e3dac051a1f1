"""Opens files in directories of another user, without trusting them."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: str | Path, folder: int | None = None) -> int:
    """Open a regular file for reading; return its descriptor.

    Follows no link and does not block on a FIFO. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    file = os.open(path, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(0, "is not a regular file")
    return file


def why(error: OSError) -> str:
    """Return the reason, and the fix if there is one."""
    text = error.strerror or type(error).__name__
    return f"{text}; try it as root" if error.errno == errno.EACCES else text
