"""`python3 -m tcp_trace` is `tcp-trace`; so is `python3 -I` with the path of this file.

By its path nothing is imported but from Python's own directories and from the one that this package
is in, wherever one stands and whatever the environment says.
"""

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tcp_trace.commands.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
