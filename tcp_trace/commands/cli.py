"""The command line.

Each command imports its modules itself: stage 2 must start fast and stay small.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tcp_trace.commands import parser
from tcp_trace.commands.loading import EX_CONFIG, env_file_of, load_beside
from tcp_trace.commands.run import run
from tcp_trace.log import output, streams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

EX_USAGE = 2
"""The same as argparse's."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    if argv is None:
        streams.prepare()
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser.build(with_variables=not {"-h", "--help"}.isdisjoint(given)).parse_args(given)
    try:
        return _COMMANDS[args.command](args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - its text may be untrusted: escaped
        output.complain_of_bug(error)
        return 1


def _check(args: argparse.Namespace) -> int:
    from tcp_trace.commands import check, findings  # noqa: PLC0415
    from tcp_trace.kernel.findings import Level  # noqa: PLC0415

    found = check.run(os.environ, env_file_of(args))
    if args.json:
        output.show(findings.as_json(found))
    else:
        output.show(
            findings.as_table(found, output.columns()),
            findings.paint if findings.wants_colour(sys.stdout) else str,
        )
    return 1 if any(finding.level is Level.FAIL for finding in found) else 0


def _test_alert(args: argparse.Namespace) -> int:
    settings = load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import testalert  # noqa: PLC0415

    return _show(lambda: testalert.send_as_service(settings))


def _incidents(args: argparse.Namespace) -> int:
    settings = load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import listing  # noqa: PLC0415

    wanted = listing.Wanted(as_json=args.json, everything=args.all, columns=output.columns())
    return _show(lambda: listing.incidents(settings.state_dir, wanted))


def _silence(args: argparse.Namespace) -> int:
    settings = load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import silencing  # noqa: PLC0415

    try:
        return _show(lambda: silencing.ACTIONS[args.action](settings, args))
    except ValueError as error:
        output.complain(str(error))
        return EX_USAGE


def _show(function: Callable[[], str]) -> int:
    """Show the text that `function` returns, or its refusal; return the exit code."""
    from tcp_trace.host.unprivileged import Refused  # noqa: PLC0415

    try:
        text = function()
    except Refused as error:
        output.complain(str(error))
        return 1
    output.show(text)
    return 0


def _demo(_: argparse.Namespace) -> int:
    from tcp_trace.commands.demo import main as demo  # noqa: PLC0415

    return demo()


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "check": _check,
    "test-alert": _test_alert,
    "incidents": _incidents,
    "silence": _silence,
    "demo": _demo,
}
