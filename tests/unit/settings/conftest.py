"""An env file to write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Return an empty env file that only its owner and group can read."""
    path = tmp_path / "tcp-trace.env"
    path.touch(0o640)
    return path
