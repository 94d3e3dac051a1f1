"""A port for those that must be told one and cannot choose it themselves."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a TCP port of loopback that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
