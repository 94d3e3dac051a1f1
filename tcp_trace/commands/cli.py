"""The command line. Each command imports what it needs: stage 2 must start fast and stay small."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace import __version__
from tcp_trace.log import output, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import SupportsWrite

    from tcp_trace.settings.config import Settings

ENV_FILE = Path("/etc/tcp-trace/tcp-trace.env")

EX_USAGE = 2
"""As argparse has it."""

EX_CONFIG = 78
"""sysexits.h: the configuration is wrong. systemd does not restart after it."""

_DESCRIPTION = """\
Watches every outbound TCP connect of this host from inside the kernel, and tells a
team, in Slack, which ones failed, why, and who made them."""

_EPILOG = """\
examples:
  tcp-trace check                    can this host run it? what to do where it cannot
  tcp-trace test-alert               send one message to the configured webhook
  tcp-trace incidents                what is failing now, and what failed lately
  tcp-trace silence add --for 2h 10.0.0.5:5432
                                     tell nobody of that database for two hours
  DEST_IP=10.0.0.0/8 LOG_FORMAT=text tcp-trace run
                                     watch from a terminal, as root; lines on stderr
  systemctl enable --now tcp-trace   run it as a service
  tcp-trace demo                     see it detect failures in a network of its own

files:
  /etc/tcp-trace/tcp-trace.env       configuration; every variable is explained there
  /var/log/tcp-trace/tcp-trace.log   the service's log
  /var/lib/tcp-trace                 messages that wait, open incidents, silences

exit codes:
  0   as asked
  1   it failed; the reason stands on stderr
  2   the command line is not understood
  78  the configuration is wrong; one line for each error stands on stderr"""

_RUN_DESCRIPTION = """\
Run the service. Started with privileges, it loads the kernel program and then goes on
without any, as SERVICE_USER. SIGHUP reads the configuration again, SIGTERM ends it."""

_SILENCE_DESCRIPTION = """\
Tell nobody of some failures for a while: those that fit one of each kind that is given.
The running service heeds it at once. They are logged and counted all the same; an incident
that was told before is still told to be over; and what fails on when the silence has ended
is told then, with what was silenced."""

_PLACE_HELP = "an address, a network, either with a port, :PORT, or all"

_ENV_FILE_HELP = f"configuration (default: {ENV_FILE} where it exists; the environment wins)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    if argv is None:
        streams.prepare()
    given = sys.argv[1:] if argv is None else list(argv)
    args = _parser(with_variables=not {"-h", "--help"}.isdisjoint(given)).parse_args(given)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - its text may hold what others wrote: escaped
        output.complain_of_bug(error)
        return 1


class _Parser(argparse.ArgumentParser):
    """A parser that quotes nothing unescaped of the command line."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        is_help = file is sys.stdout
        if message:
            output.write_raw(sys.stdout if is_help else sys.stderr, message)


def _parser(*, with_variables: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tcp-trace",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tcp-trace {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    run = _command(commands, "run", "run the service", _run, _RUN_DESCRIPTION)
    if with_variables:
        from tcp_trace.settings.variables import help_text  # noqa: PLC0415

        run.epilog = help_text()
    run.add_argument(
        "--log-file", type=Path, metavar="F", help="log to this file (default: stderr)"
    )
    run.add_argument("--handover", type=int, help=argparse.SUPPRESS)

    check = _command(
        commands,
        "check",
        "tell whether this host can run it",
        _check,
        "Tell whether this host can run the service, and for all that is amiss what to do.\n"
        "Sends no message. Exits with 1 where something would keep the service from working.",
    )
    check.add_argument("--json", action="store_true", help="write JSON for a program")

    test_alert = _command(
        commands,
        "test-alert",
        "send one message to the webhook",
        _test_alert,
        "Send one message to the configured webhook, and tell what came of it.",
    )
    incidents = _command(
        commands,
        "incidents",
        "list what is failing, and what failed lately",
        _incidents,
        "List open incidents, the worst first, and those that ended lately, as the running\n"
        "service saved them last (within 2 s), or as the stopped one left them.",
    )
    incidents.add_argument("--json", action="store_true", help="write JSON for a program: all")
    incidents.add_argument("--all", action="store_true", help="list all, however many")
    for command in (run, check, test_alert, incidents, *_silence_parsers(commands)):
        command.add_argument("--env-file", type=Path, metavar="F", help=_ENV_FILE_HELP)
    _command(
        commands,
        "demo",
        "see it work, without a webhook",
        _demo,
        "Run the real service against connects that succeed, are refused and time out, in a\n"
        "network namespace of its own, and show what it tells. Needs root.",
    )
    return parser


def _silence_parsers(
    commands: argparse._SubParsersAction[_Parser],
) -> list[argparse.ArgumentParser]:
    silence = commands.add_parser("silence", help="tell nobody of some failures, for a while")
    actions = silence.add_subparsers(required=True, metavar="ACTION", title="actions")
    add = _command(actions, "add", "begin a silence", _silence, _SILENCE_DESCRIPTION)
    add.set_defaults(action="add")
    add.add_argument("destinations", nargs="*", metavar="DESTINATION", help=_PLACE_HELP)
    add.add_argument("--for", required=True, dest="seconds", metavar="2h", help="for how long")
    for name, words in (
        ("process", "of processes of this name (a pattern: psql, 'php*')"),
        ("unit", "of this systemd unit (a pattern: shop, 'backup@*')"),
        ("reason", "of this reason (refused, timed_out, ...)"),
    ):
        add.add_argument(
            f"--{name}", action="append", default=[], metavar=name[0].upper(), help=f"only {words}"
        )
    add.add_argument("--comment", default="", metavar="TEXT", help="why, for those who list it")
    show = _command(
        actions, "list", "list silences and maintenance windows", _silence,
        "List the silences that hold, and the maintenance windows, with what each has silenced.",
    )  # fmt: skip
    show.set_defaults(action="listing")
    show.add_argument("--json", action="store_true", help="write JSON for a program")
    show.add_argument("--all", action="store_true", help="also those that ended this week")
    remove = _command(actions, "remove", "end a silence", _silence, "End a silence now.")
    remove.set_defaults(action="remove")
    remove.add_argument("id", metavar="ID", help="as `tcp-trace silence list` shows it")
    return [add, show, remove]


def _command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    summary: str,
    function: Callable[[argparse.Namespace], int],
    description: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    return parser


def env_file_of(args: argparse.Namespace) -> Path | None:
    """Return the env file to read: the one asked for, else the installed one if there is one."""
    asked: Path | None = args.env_file
    return asked or (ENV_FILE if ENV_FILE.exists() else None)


def _load(args: argparse.Namespace) -> Settings | None:
    """Return the settings; None where they are wrong, which stderr was told."""
    from tcp_trace.settings import config  # noqa: PLC0415

    return _loaded(lambda: config.load(os.environ, env_file_of(args)))


def _loaded(load: Callable[[], Settings]) -> Settings | None:
    from tcp_trace.settings.config import ConfigError  # noqa: PLC0415

    try:
        return load()
    except ConfigError as error:
        for sentence in error.errors:
            _complain(sentence)
        return None


def _load_beside(args: argparse.Namespace) -> Settings | None:
    """Return the settings of the service beside which a command runs, with its credentials."""
    from tcp_trace.settings import config, credentials  # noqa: PLC0415

    with credentials.of_the_unit(os.environ) as environ:
        return _loaded(lambda: config.load(environ, env_file_of(args)))


def _complain(sentence: str) -> None:
    output.complain(sentence)


def _run(args: argparse.Namespace) -> int:
    if args.handover is not None:
        return _serve(args)
    settings = _load(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import relay  # noqa: PLC0415
    from tcp_trace.host import serviceuser  # noqa: PLC0415

    try:
        account = serviceuser.chosen(settings.service_user)
    except serviceuser.AccountError as error:
        _complain(str(error))
        return 1
    _say_if_second(settings)
    if relay.has_terminal() and (code := relay.fork(account)) is not None:
        return code
    from tcp_trace.kernel.program import StartError, start  # noqa: PLC0415

    try:
        start(settings, account)
    except StartError as error:
        _complain(str(error))
        return 1


def _serve(args: argparse.Namespace) -> int:
    """Be stage 2."""
    from tcp_trace.kernel import confinement, handover  # noqa: PLC0415

    try:
        handover.drop_privileges(args.handover)
    except OSError as error:
        _complain(f"privileges cannot be given up, and so nothing is done: {error.strerror}")
        return 1
    confinement.forbid_exec()
    settings = _load(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.service.daemon import serve  # noqa: PLC0415

    landlock = _restrict_writes(settings.state_dir, args.log_file)
    return serve(settings, args.handover, args.log_file, env_file_of(args), landlock=landlock)


def _restrict_writes(state_dir: Path, log_file: Path | None) -> bool:
    from tcp_trace.kernel import confinement  # noqa: PLC0415

    # Where it cannot be made, the outbox says so.
    with contextlib.suppress(OSError):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs = () if log_file is None else (log_file.absolute().parent,)
    return confinement.restrict_writes((state_dir, *logs))


def _say_if_second(settings: Settings) -> None:
    """Say before the compiler runs that another instance has STATE_DIR, and so what this one does.

    What cannot be known here, for want of a directory or of rights, stage 2 finds out and logs.
    """
    from tcp_trace.host import unprivileged  # noqa: PLC0415
    from tcp_trace.notify import store  # noqa: PLC0415

    path = settings.state_dir / store.NAME
    try:
        owner = unprivileged.owner_of(settings.state_dir, path.name)
        taken = unprivileged.call(owner, f"looking at {path}", lambda: store.is_claimed(path))
    except unprivileged.Refused:
        return
    if taken is True:
        _complain(
            f"another tcp-trace has STATE_DIR={settings.state_dir}: this one watches and logs, and"
            " sends nothing; for messages of its own it needs another STATE_DIR"
        )


def _check(args: argparse.Namespace) -> int:
    from tcp_trace.commands import check, findings  # noqa: PLC0415

    found = check.run(os.environ, env_file_of(args))
    if args.json:
        output.show(findings.as_json(found))
    else:
        output.show(
            findings.as_table(found, output.columns()),
            findings.paint if findings.wants_colour(sys.stdout) else str,
        )
    return 1 if any(finding.level is findings.Level.FAIL for finding in found) else 0


def _test_alert(args: argparse.Namespace) -> int:
    settings = _load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import testalert  # noqa: PLC0415

    return _tell(lambda: testalert.send_as_service(settings))


def _incidents(args: argparse.Namespace) -> int:
    settings = _load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import listing  # noqa: PLC0415

    wanted = listing.Wanted(as_json=args.json, everything=args.all, columns=output.columns())
    return _tell(lambda: listing.incidents(settings.state_dir, wanted))


def _silence(args: argparse.Namespace) -> int:
    settings = _load_beside(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import silencing  # noqa: PLC0415

    try:
        return _tell(lambda: getattr(silencing, args.action)(settings, args))
    except ValueError as error:
        _complain(str(error))
        return EX_USAGE


def _tell(function: Callable[[], str]) -> int:
    """Show what it returns, or why it refuses; return the exit code."""
    from tcp_trace.host.unprivileged import Refused  # noqa: PLC0415

    try:
        text = function()
    except Refused as error:
        _complain(str(error))
        return 1
    output.show(text)
    return 0


def _demo(_: argparse.Namespace) -> int:
    from tcp_trace.commands.demo import main as demo  # noqa: PLC0415

    return demo()
