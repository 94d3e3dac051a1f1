"""A log in a file, and a user who is not root."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logs
from tcp_trace.settings import config
from tests.captured import Captured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


log = logging.getLogger("tcp_trace.test")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: files of two users")
NOBODY = 65534


class Log:
    """A log that is set up, and what it complained of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stderr = Captured()
        self.handler = logs.setup(config.load({}, None), path, self.stderr)

    def complaints(self) -> list[str]:
        """Return the messages on stderr."""
        return [json.loads(line)["message"] for line in self.stderr.getvalue().splitlines()]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be nobody, in all threads, as stage 2 is somebody who is not root."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def say(text: str) -> None:
    """Log a line and wait until it is written."""
    log.info(text)
    logs.flush()
