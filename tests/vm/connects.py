"""Runs inside the machine: a program that connects, under a name of its own.

Prints a JSON object at the end: its `pid`, how many connects ended with which errno, by name ("0"
for success; EAGAIN is Python's for the time being up), and how many ms the `slowest` took it.
"""

from __future__ import annotations

import argparse
import collections
import errno
import json
import os
import socket
import time
from pathlib import Path


def main() -> None:
    """Connect as the command line says, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each")
    parser.add_argument("--timeout", type=float, help="seconds until it gives up by itself")
    parser.add_argument("--retries", type=int, help="SYNs that the kernel repeats")
    args = parser.parse_args()
    Path("/proc/self/comm").write_text(args.name)
    ends: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for _ in range(args.times):
        began = time.monotonic()
        ends[_connect(args)] += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(args.pause)
    print(json.dumps({"pid": os.getpid(), "ends": ends, "slowest": slowest * 1000}))


def _connect(args: argparse.Namespace) -> str:
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(args.timeout)
        if args.retries is not None:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, args.retries)
        number = client.connect_ex((args.address, args.port))
        return errno.errorcode.get(number, str(number))


if __name__ == "__main__":
    main()
