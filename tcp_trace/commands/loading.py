"""Loads the settings of a command from its env file; errors go to stderr."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.log import output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from tcp_trace.settings.config import Settings

ENV_FILE = Path("/etc/tcp-trace/tcp-trace.env")

EX_CONFIG = 78
"""sysexits.h: the configuration is wrong. systemd does not restart after it."""


def env_file_of(args: argparse.Namespace) -> Path | None:
    """Return the env file to read: the given one, otherwise the installed one if it exists."""
    asked: Path | None = args.env_file
    return asked or (ENV_FILE if ENV_FILE.exists() else None)


def load(args: argparse.Namespace) -> Settings | None:
    """Return the settings; None if they are wrong, after writing the errors to stderr."""
    from tcp_trace.settings import config  # noqa: PLC0415

    return _loaded(lambda: config.load(os.environ, env_file_of(args)))


def _loaded(load: Callable[[], Settings]) -> Settings | None:
    from tcp_trace.settings.config import ConfigError  # noqa: PLC0415

    try:
        return load()
    except ConfigError as error:
        for sentence in error.errors:
            output.complain(sentence)
        return None


def load_beside(args: argparse.Namespace) -> Settings | None:
    """Return the settings of the installed service, with its credentials."""
    from tcp_trace.settings import config, credentials  # noqa: PLC0415

    with credentials.of_the_unit(os.environ) as environ:
        return _loaded(lambda: config.load(environ, env_file_of(args)))
