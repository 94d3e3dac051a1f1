"""Measure in a virtual machine and write benchmarks/RESULTS.md: `python3 -m benchmarks`.

Exits with 1 where a wanted figure is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Results, verdicts
from benchmarks.table import page
from tests.vm.image import ImageError
from tests.vm.machine import CHECKOUT, Machine
from tests.vm.qemu import MachineError
from tests.vm.recipe import DEFAULT_KERNEL, LINK_HEADERS, recipes

_ROOT = Path(__file__).resolve().parents[1]
_INSIDE = "/root/benchmark.json"


def main(argv: list[str] | None = None) -> int:
    """Run it all and return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=__doc__)
    parser.add_argument("--kernel", choices=list(recipes()), default=DEFAULT_KERNEL)
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks/RESULTS.md")
    options = parser.parse_args(argv)
    command = "make bench"
    if options.kernel != DEFAULT_KERNEL:
        command = f"python3 -m benchmarks --kernel {options.kernel}"
    try:
        results, accel = _measure(options.kernel)
    except (ImageError, MachineError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    options.results.write_text(page(results, command=command, date=date, accel=accel))
    return _tell(results, options.results)


def _measure(kernel: str) -> tuple[Results, str]:
    with Machine(kernel, report=lambda line: print(line, flush=True)) as machine:
        machine.put_checkout(_ROOT)
        machine.run(f"make -C {CHECKOUT} install")
        machine.run(LINK_HEADERS)  # the other tools are compiled with the kernel's
        inside = f"cd {CHECKOUT} && exec /usr/bin/python3 -m benchmarks.inside {_INSIDE}"
        if machine.stream(inside) != 0:
            raise MachineError("the benchmark inside the machine failed; see above")
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "results.json"
            machine.get(_INSIDE, local)
            return Results.from_dict(json.loads(local.read_text())), machine.accel


def _tell(results: Results, where: Path) -> int:
    missed = 0
    for verdict in verdicts(results):
        mark = "ok    " if verdict.met else "MISSED"
        print(f"{mark} {verdict.figure}: wanted {verdict.wanted}, measured {verdict.measured}")
        missed += not verdict.met
    print(f"Written: {where}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
