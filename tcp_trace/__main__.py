"""Runs `tcp-trace`, by `python3 -m tcp_trace` or by `python3 -I` with the path of this file.

With `-I`, modules come only from Python's own directories and from the parent of this package,
whatever the working directory and the environment are.
"""

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tcp_trace.commands.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
