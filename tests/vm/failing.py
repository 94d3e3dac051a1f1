"""Runs inside the machine: connects that are refused, of some users, until SIGTERM or enough.

    failing.py ADDRESS FILE USERS UID A_SECOND MOST

Each of so many users, from UID on, makes A_SECOND connects, and MOST at the most; 0 is no limit.
FILE has a JSON list at the end: the pid of each process with the local port and port of every
connect, in their order. Everybody has a cgroup and so a budget of his own.
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
    """Let the users connect until somebody says that it is enough."""
    address, file = sys.argv[1], Path(sys.argv[2])
    users, first, a_second, most = map(int, sys.argv[3:])
    cgroups = [Path(f"/sys/fs/cgroup/failing-{first + number}") for number in range(users)]
    children: list[int] = []

    def end(number: int, _: object) -> None:
        for child in children:
            os.kill(child, number)

    signal.signal(signal.SIGTERM, end)
    for number, cgroup in enumerate(cgroups):
        cgroup.mkdir()
        child = os.fork()
        if not child:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))
            with file.with_suffix(f".{number}").open("w") as result:
                os.setuid(first + number)
                json.dump([os.getpid(), _connect(address, a_second, most)], result)
            os._exit(0)
        children.append(child)
    for child, cgroup in zip(children, cgroups, strict=True):
        os.waitpid(child, 0)
        cgroup.rmdir()
    made = [json.loads(file.with_suffix(f".{n}").read_text()) for n in range(users)]
    whole = file.with_suffix(".part")
    whole.write_text(json.dumps(made))
    whole.rename(file)


def _connect(address: str, a_second: int, most: int) -> list[tuple[int, int]]:
    enough: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: enough.append(number))
    made: list[tuple[int, int]] = []
    due = time.monotonic()
    while not enough and (not most or len(made) < most):
        if a_second:
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / a_second
        port = _PORTS[len(made) % len(_PORTS)]
        with socket.socket() as client:
            client.bind((address, 0))
            made.append((client.getsockname()[1], port))
            client.connect_ex((address, port))
    return made


if __name__ == "__main__":
    main()
