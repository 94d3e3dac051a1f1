"""A state directory, as the service has one."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def state_directory() -> Iterator[Path]:
    """Yield an empty one, the way to which everybody may go."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        path = Path(name, "state")
        path.mkdir(0o700)
        yield path
