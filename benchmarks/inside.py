"""The run itself, inside the machine, as root; writes its results as JSON to the file named.

python3 -m benchmarks.inside RESULTS.json
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import figures
from benchmarks.contenders import Contender, contenders, idle
from benchmarks.figures import Cost, Results, Rounds, Sample
from benchmarks.running import Running, running
from tcp_trace.commands import loopback

_ROUNDS = 7
# Names of the workloads, with the arguments of benchmarks.load.
_WORKLOADS = {
    figures.SHORT: ("--connects", "5000"),
    figures.LONG: ("--connects", "50000"),
    figures.REFUSED: ("--connects", "1000", "--refused"),
}
_began = time.monotonic()


def say(text: str) -> None:
    """Show progress."""
    print(f"[{time.monotonic() - _began:5.0f} s] {text}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure everything, or the contenders asked for, and write the results."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.inside", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", default="", help="contenders whose name matches this expression")
    parser.add_argument("--workloads", default="", help="the same for workloads")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    options = parser.parse_args(argv)
    for name in [name for name in _WORKLOADS if not re.search(options.workloads, name)]:
        del _WORKLOADS[name]
    with loopback.webhook() as (url, _):
        everybody = contenders(url)
        chosen = [one for one in everybody if re.search(options.only, one.name)]
        # First, also because who starts for the first time pays for reading the disk.
        rounds = _take_turns(everybody[0], idle(), options.rounds)
        costs = {figures.NOTHING: _measure_nothing()}
        for contender in chosen:
            costs[contender.name] = _measure(contender)
    results = Results(
        kernel=platform.release(), bcc=_bcc_version(), cpu=_cpu(), costs=costs, rounds=rounds
    )
    options.results.write_text(json.dumps(results.to_dict()))
    return 0


def _measure_nothing() -> Cost:
    samples = {}
    for workload in _WORKLOADS:
        samples[workload] = Sample(0.0, 0, _load(workload))
        say(f"{figures.NOTHING}: {workload} in {samples[workload].seconds:.1f} s")
    return Cost(
        startup=None, resident_kb=None, lost=None, false_alarms=None, reported=None, samples=samples
    )


def _measure(contender: Contender) -> Cost:
    with running(contender) as process:
        say(f"{contender.name}: ready after {process.startup:.1f} s")
        process.settle()
        samples = {workload: _sample(process, workload) for workload in _WORKLOADS}
        resident = process.resident_kb
        process.stop()
        failures = process.failures()
        cost = Cost(
            startup=process.startup,
            resident_kb=resident,
            lost=process.lost(),
            false_alarms=failures[0] if failures else None,
            reported=failures[1] if failures else None,
            samples=samples,
        )
    say(
        f"{contender.name}: {resident / 1024:.1f} MB resident, {cost.lost} lost, "
        f"{cost.false_alarms} false alarms, {cost.reported} refused told"
    )
    return cost


def _sample(process: Running, workload: str) -> Sample:
    cpu, ticks = process.cpu_ms, process.ticks
    seconds = _load(workload)
    process.settle()
    sample = Sample(round(process.cpu_ms - cpu, 3), process.ticks - ticks, seconds)
    say(f"{process.contender.name}: {workload} in {seconds:.1f} s, {sample.cpu_ms:,.1f} ms of CPU")
    return sample


def _take_turns(service: Contender, hooks: Contender, rounds: int) -> Rounds:
    """Run the short load with nothing and beside others, in turn, so that all get noise."""
    nothing: list[float] = []
    beside: dict[str, list[float]] = {service.name: [], hooks.name: []}
    for number in range(1, rounds + 1):
        nothing.append(_load(figures.SHORT))
        for contender in (hooks, service):
            with running(contender) as process:
                process.settle()
                beside[contender.name].append(_load(figures.SHORT))
                process.stop()
        said = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in beside.items())
        say(f"round {number} of {rounds}: nothing {nothing[-1]:.2f} s, {said}")
    return Rounds(
        nothing=tuple(nothing), idle=tuple(beside[hooks.name]), service=tuple(beside[service.name])
    )


def _load(workload: str) -> float:
    """Run a workload and return its own duration in seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *_WORKLOADS[workload]],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(json.loads(done.stdout)["seconds"])


def _bcc_version() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "python3-bpfcc"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout


def _cpu() -> str:
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    return f"{info.count('processor')} x {model[1] if model else platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
