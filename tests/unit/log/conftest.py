"""Where the log is, and that no test leaves it changed."""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where the log is: in a directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "log")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Undo what `setup` does to the whole process."""
    names = ("raiseExceptions", "logThreads", "logProcesses", "logMultiprocessing", "_srcfile")
    kept = {name: logging.__dict__[name] for name in names}
    hooks = sys.excepthook, threading.excepthook
    level = logging.root.level
    yield
    logging.__dict__.update(kept)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    logging.root.setLevel(level)
    for handler in list(logging.root.handlers):
        if isinstance(handler, logs.LogHandler):
            logging.root.removeHandler(handler)
            handler.close()
