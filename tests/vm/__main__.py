"""Build images and run commands on them by hand; see `python3 -m tests.vm --help`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from tests.vm.image import ImageError, ensure_image
from tests.vm.machine import CHECKOUT, Machine
from tests.vm.qemu import MachineError
from tests.vm.recipe import DEFAULT_KERNEL, recipes

_REPOSITORY = Path(__file__).resolve().parents[2]


def main(argv: list[str] | None = None) -> int:
    """Return the exit status: the command's own for `run`, 1 when there is no image or machine."""
    options = _parser().parse_args(argv)
    try:
        status: int = options.action(options)
    except (ImageError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.vm",
        description="Test on a Debian system of our own in QEMU. Changes inside are thrown away.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build the image unless the cache has it")
    build.set_defaults(action=_build)
    run = actions.add_parser("run", help=f"boot, copy this checkout to {CHECKOUT}, run a command")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    run.set_defaults(action=_run)
    shell = actions.add_parser("shell", help="the same with a login shell instead of a command")
    shell.set_defaults(action=_shell)
    for action in (build, run, shell):
        action.add_argument(
            "--kernel",
            choices=list(recipes()),
            default=DEFAULT_KERNEL,
            help="kernel series (default: %(default)s)",
        )
    return parser


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _build(options: argparse.Namespace) -> int:
    print(ensure_image(options.kernel, _report).directory)
    return 0


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        _report("error: give a command after --")
        return 2
    with Machine(options.kernel, report=_report) as machine:
        machine.put_checkout(_REPOSITORY)
        # One word is taken as a shell line, several as a command and its arguments.
        line = command[0] if len(command) == 1 else shlex.join(command)
        return machine.stream(f"cd {CHECKOUT} && {line}")


def _shell(options: argparse.Namespace) -> int:
    with Machine(options.kernel, report=_report) as machine:
        machine.put_checkout(_REPOSITORY)
        return machine.stream(f"cd {CHECKOUT} && exec bash -l", terminal=True)


if __name__ == "__main__":
    sys.exit(main())
