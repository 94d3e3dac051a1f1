"""Runs targets of make side by side: `python3 -m tests.beside TARGET...`.

What one says is shown when it is done, since two that say it at once cannot be read; until then a
line tells how far each is. If one fails the others go on to their end, and the status is 1.
Ctrl-C and SIGTERM end them all; what they had said is shown.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, NamedTuple

LOOK_SECONDS = 0.2
# On a terminal one line is written over; a log gets one now and then, so that nobody waits for it.
TERMINAL_SECONDS, LOG_SECONDS = 1.0, 60.0
_PROGRESS = re.compile(rb"\[ *([0-9]+)%\]")


class Part(NamedTuple):
    """A target that runs, in a process group of its own, and the file that it writes to."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began: float

    def said(self) -> bytes:
        """Return what it has written so far."""
        return os.pread(self.output.fileno(), os.fstat(self.output.fileno()).st_size, 0)

    def progress(self) -> str:
        """Return its name and how far it is, as pytest says."""
        found = _PROGRESS.findall(self.said())
        return f"{self.name} {int(found[-1])}%" if found else self.name

    def show(self, state: str) -> None:
        """Write what it said to stdout, under its name."""
        took = time.monotonic() - self.began
        head = f"\n== {self.name}: {state}, {took / 60:.0f} min {took % 60:.0f} s\n"
        sys.stdout.buffer.write(head.encode() + self.said())
        sys.stdout.flush()


def begin(target: str) -> Part:
    """Start `make target`."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
    # The jobserver of the make that calls this is not for them.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    process = subprocess.Popen(
        ["make", "--no-print-directory", target],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    return Part(target, process, output, time.monotonic())


def run(targets: list[str]) -> int:
    """Run them all and return the status."""
    running = [begin(target) for target in targets]
    on_terminal = sys.stdout.isatty()
    pause, told, failed = TERMINAL_SECONDS if on_terminal else LOG_SECONDS, time.monotonic(), False
    try:
        while running:
            time.sleep(LOOK_SECONDS)
            for part in [part for part in running if part.process.poll() is not None]:
                running.remove(part)
                status = part.process.returncode
                part.show("passed" if status == 0 else f"FAILED ({status})")
                failed = failed or status != 0
            if running and time.monotonic() - told >= pause:
                told = time.monotonic()
                line = " · ".join(part.progress() for part in running)
                print(f"\r{line}\033[K" if on_terminal else line, end="" if on_terminal else "\n")  # noqa: T201 - it shows its progress
                sys.stdout.flush()
    except KeyboardInterrupt:
        for part in running:
            os.killpg(part.process.pid, signal.SIGINT)  # pytest then takes down what it set up
        for part in running:
            part.process.wait()
            part.show("ended before it was done")
        return 130
    return int(failed)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(sys.argv[1:]))
