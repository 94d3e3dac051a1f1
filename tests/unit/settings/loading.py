"""Settings as a process environment and an env file make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.settings import config
from tcp_trace.settings.config import (
    ConfigError,
    Settings,
)

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc"


OTHER_URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/dddddddddddddddddddddddd"


def load(path: Path | None = None, **environ: str) -> Settings:
    """Return the settings of an env file and an environment."""
    return config.load(environ, path)


def errors(path: Path | None = None, **environ: str) -> list[str]:
    """Return what is said of a wrong configuration."""
    with pytest.raises(ConfigError) as caught:
        config.load(environ, path)
    return caught.value.errors
