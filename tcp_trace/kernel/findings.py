"""Findings about this host: whether it can run the service."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """The result of a check. The service works in spite of a warning."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """The finding of one check; `fix` says what to do, empty for nothing."""

    name: str
    level: Level
    detail: str
    fix: str = ""
