"""Runs inside the machine: connects that are refused, so many a second, until SIGTERM.

Takes an address, how many a second, and a file, which has a JSON object at the end: the `pid` of
this process, and the local port and port of every connect, in their order.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

# Few a port: of lines that say the same only the first hundred are written.
_PORTS = range(30_000, 30_060)


def main() -> None:
    """Connect until somebody says that it is enough."""
    enough: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: enough.append(number))
    address, a_second, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    made: list[tuple[int, int]] = []
    due = time.monotonic()
    while not enough:
        time.sleep(max(0.0, due - time.monotonic()))
        port = _PORTS[len(made) % len(_PORTS)]
        with socket.socket() as client:
            client.bind((address, 0))
            made.append((client.getsockname()[1], port))
            client.connect_ex((address, port))
        due += 1 / a_second
    whole = file.with_suffix(".part")
    whole.write_text(json.dumps({"pid": os.getpid(), "made": made}))
    whole.rename(file)


if __name__ == "__main__":
    main()
