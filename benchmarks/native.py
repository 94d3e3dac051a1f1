"""Measure on this host, which is not emulated, and write benchmarks/NATIVE.md, as root.

    python3 -m benchmarks.native

What the service's kernel programs take of a successful connect, beside two that do nothing; and
how long a load takes beside either. It makes connects on loopback only.
"""

from __future__ import annotations

import argparse
import ctypes as ct
import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import Rounds
from tcp_trace import resources
from tcp_trace.commands import sandbox
from tcp_trace.kernel.btf import libbpf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

CONNECTS = 20_000
ROUNDS = 7
RESULTS = Path(__file__).with_name("NATIVE.md")
_HOW = """\
The nanoseconds are the kernel's own count (`kernel.bpf_stats_enabled`), of a load of their own,
since counting takes time, too: what idle programs show is what the counting costs. By chance is the
probability that so much or more comes by chance alone (exact permutation test of the rounds)."""
_STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


class Beside(NamedTuple):
    """One load beside somebody: its seconds, and the programs' nanoseconds for each connect."""

    seconds: float
    nanoseconds: float


def main(argv: list[str] | None = None) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.native", description=__doc__)
    parser.add_argument("--hook", choices=["kprobe", "tracepoint"], default="tracepoint")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(argv)
    sandbox.require()
    contenders = {
        "idle": lambda: _idle(options.hook),
        "service": lambda: sandbox.service(HOOK=options.hook),
    }
    busy = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    nothing: list[float] = []
    taken: dict[str, list[Beside]] = {name: [] for name in contenders}
    _load()  # The first one reads the disk.
    for number in range(1, options.rounds + 1):
        nothing.append(_load())
        for name, start in contenders.items():
            taken[name].append(_beside(start))
        now = ", ".join(f"{name} {one[-1].seconds:.3f} s" for name, one in taken.items())
        print(f"round {number}: nothing {nothing[-1]:.3f} s, {now}", flush=True)
    RESULTS.write_text(page(options.hook, busy, nothing, taken["idle"], taken["service"]))
    print(f"Written: {RESULTS}")
    return 0


def page(
    hook: str, busy: str, nothing: list[float], idle: list[Beside], service: list[Beside]
) -> str:
    """Return the page, in Markdown; `busy` is the load average before."""
    rounds = Rounds(
        nothing=tuple(nothing),
        idle=tuple(one.seconds for one in idle),
        service=tuple(one.seconds for one in service),
    )
    connect = statistics.median(nothing) / CONNECTS * 1e6
    introduction = (
        f"Measured on {dt.datetime.now(tz=dt.UTC).date()} by `python3 -m benchmarks.native`: "
        f"kernel {platform.release()}, hook {hook}, EVENTS=failures, {len(nothing)} rounds of "
        f"{CONNECTS:,} successful connects over loopback, medians. A connect of the load itself "
        f"takes {connect:.1f} us. The load average before was {busy}: the durations mean little "
        "where that is not near 0, the kernel's count does."
    )
    lines = [
        "# What it costs a connect on a machine that is not emulated",
        "",
        introduction,
        "",
        "| beside | kernel programs, ns a connect | the load's duration : nothing | by chance |",
        "| --- | --- | --- | --- |",
    ]
    for name, beside, seconds in (
        ("two idle programs", idle, rounds.idle),
        ("this service", service, rounds.service),
    ):
        taken = statistics.median(one.nanoseconds for one in beside)
        ratio, chance = rounds.slowdown(seconds), rounds.chance(seconds)
        lines.append(f"| {name} | {taken:,.0f} | {ratio:.3f} | {chance:.1%} |")
    return "\n".join([*lines, "", _HOW, ""])


def _beside(start: Callable[[], AbstractContextManager[object]]) -> Beside:
    before = _programs()
    with start():
        programs = _programs() - before
        seconds = _load()
        with _statistics():
            _load()
            taken = sum(_run_time(program) for program in programs)
    return Beside(seconds, taken / CONNECTS)


@contextmanager
def _idle(hook: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.idle", hook]
    environment = os.environ | {"BCC_KERNEL_SOURCE": str(resources.directory("bpf") / "kernel")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise RuntimeError("the idle programs cannot be attached")
    with process:
        yield
        process.terminate()


@contextmanager
def _statistics() -> Iterator[None]:
    """Let the kernel count the time of BPF programs."""
    before = _STATISTICS.read_text()
    _STATISTICS.write_text("1")
    try:
        yield
    finally:
        _STATISTICS.write_text(before)


def _programs() -> set[int]:
    """Return the numbers of all BPF programs of this host."""
    lib, found = libbpf(), set()
    number = ct.c_uint32(0)
    while not lib.bpf_prog_get_next_id(number, ct.byref(number)):
        found.add(number.value)
    return found


def _run_time(program: int) -> int:
    """Return the nanoseconds that a program was run for; 0 where it is gone."""
    fd = libbpf().bpf_prog_get_fd_by_id(program)
    if fd < 0:
        return 0
    try:
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
    finally:
        os.close(fd)
    return int(re.search(r"^run_time_ns:\s*(\d+)", info, re.MULTILINE)[1])  # type: ignore[index]


def _load() -> float:
    """Run the load and return its own duration in seconds."""
    command = [sys.executable, "-m", "benchmarks.load", "--connects", str(CONNECTS)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["seconds"])


if __name__ == "__main__":
    sys.exit(main())
