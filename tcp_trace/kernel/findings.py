"""What was found out about this host: the answer to "can it run the service?"."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """The result of a check: a warning does not keep the service from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """The finding of one check; `fix` says what to do, empty for nothing."""

    name: str
    level: Level
    detail: str
    fix: str = ""
