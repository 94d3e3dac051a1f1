"""The command line's commands, options and help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace import __version__
from tcp_trace.commands.loading import ENV_FILE
from tcp_trace.log import output

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_DESCRIPTION = """\
Watches every outbound TCP connect of this host from inside the kernel. Reports to a
team, in Slack, which ones failed, why, and which programs made them."""

_EPILOG = """\
examples:
  tcp-trace check                    check whether this host can run it; show fixes
  tcp-trace test-alert               send one message to the configured webhook
  tcp-trace incidents                list open and recent incidents
  tcp-trace silence add --for 2h db.example.com:5432
                                     send no messages about that database for two hours
  DEST_IP=10.0.0.0/8 LOG_FORMAT=text tcp-trace run
                                     watch from a terminal, as root; lines on stderr
  systemctl enable --now tcp-trace   run it as a service
  tcp-trace demo                     see it detect failures in a network of its own

files:
  /etc/tcp-trace/tcp-trace.env       configuration; every variable is explained there
  /var/log/tcp-trace/tcp-trace.log   the service's log
  /var/lib/tcp-trace                 unsent messages, open incidents, silences

exit codes:
  0   success
  1   failure; the reason is on stderr
  2   wrong command line
  78  the configuration is wrong; stderr has a line for each error"""

_RUN_DESCRIPTION = """\
Run the service. Started with privileges, it loads the kernel program and then continues
without any, as SERVICE_USER. SIGHUP reloads the configuration, SIGTERM stops it."""

_SILENCE_DESCRIPTION = """\
Send no messages about some failures for a while: those that match one argument of each
given kind. The running service applies it at once. Failures are still logged and counted.
An incident that was reported before is still reported as over. One that is open when
the silence ends is reported then, with the failures that were silenced."""

_PLACE_HELP = "an address, network or host name (*.example.com), with or without a port; :PORT; all"

_ENV_FILE_HELP = f"configuration (default: {ENV_FILE} where it exists; the environment wins)"


class Parser(argparse.ArgumentParser):
    """A parser that escapes the parts of the command line that its messages quote."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        is_help = file is sys.stdout
        if message:
            output.write_raw(sys.stdout if is_help else sys.stderr, message)


def build(*, with_variables: bool) -> argparse.ArgumentParser:
    """Return the parser. `with_variables` adds them to the help of `run`, which takes time."""
    parser = Parser(
        prog="tcp-trace",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tcp-trace {__version__}")
    commands = parser.add_subparsers(
        required=True, dest="command", metavar="COMMAND", title="commands"
    )

    run = _run(commands, with_variables=with_variables)
    check = _command(
        commands,
        "check",
        "check whether this host can run it",
        "Check whether this host can run the service, and show how to fix what fails.\n"
        "Sends no message. Exits with 1 if the service cannot run.",
    )
    check.add_argument("--json", action="store_true", help="write JSON")

    test_alert = _command(
        commands,
        "test-alert",
        "send one message to the webhook",
        "Send one message to each configured webhook, and show whether it arrived.",
    )
    incidents = _incidents(commands)
    for command in (run, check, test_alert, incidents, *_silence_parsers(commands)):
        command.add_argument("--env-file", type=Path, metavar="F", help=_ENV_FILE_HELP)
    _command(
        commands,
        "demo",
        "see it work, without a webhook",
        "Run the real service against connects that succeed, are refused and time out, in a\n"
        "network namespace of its own, and show its log and messages. Needs root.",
    )
    return parser


def _run(
    commands: argparse._SubParsersAction[Parser], *, with_variables: bool
) -> argparse.ArgumentParser:
    run = _command(commands, "run", "run the service", _RUN_DESCRIPTION)
    if with_variables:
        from tcp_trace.settings.variables import help_text  # noqa: PLC0415

        run.epilog = help_text()
    run.add_argument(
        "--log-file", type=Path, metavar="F", help="log to this file (default: stderr)"
    )
    run.add_argument("--handover", type=int, help=argparse.SUPPRESS)
    return run


def _incidents(commands: argparse._SubParsersAction[Parser]) -> argparse.ArgumentParser:
    incidents = _command(
        commands,
        "incidents",
        "list open and recent incidents",
        "List open incidents, the worst first, and recently ended ones, as the service saved\n"
        "them last: within 2 s, or when it stopped.",
    )
    incidents.add_argument("--json", action="store_true", help="write all of them as JSON")
    incidents.add_argument("--all", action="store_true", help="list all")
    return incidents


def _silence_parsers(
    commands: argparse._SubParsersAction[Parser],
) -> list[argparse.ArgumentParser]:
    silence = commands.add_parser(
        "silence", help="send no messages about some failures, for a while"
    )
    actions = silence.add_subparsers(
        required=True, dest="action", metavar="ACTION", title="actions"
    )
    add = _command(actions, "add", "begin a silence", _SILENCE_DESCRIPTION)
    add.add_argument("destinations", nargs="*", metavar="DESTINATION", help=_PLACE_HELP)
    until = add.add_mutually_exclusive_group(required=True)
    until.add_argument("--for", dest="seconds", metavar="2h", help="how long it lasts")
    until.add_argument(
        "--until-recovered", action="store_true",
        help="until the incident of one DESTINATION is over (or for 30 days)",
    )  # fmt: skip
    for name, words in (
        ("process", "failures of processes of this name (a pattern: psql, 'php*')"),
        ("unit", "failures of this systemd unit (a pattern: shop, 'backup@*')"),
        ("pod", "failures of this pod (a pattern of its UID)"),
        ("container", "failures of this container (its id as messages show it, or a pattern)"),
        ("reason", "failures with this reason (refused, timed_out, ...)"),
    ):
        add.add_argument(
            f"--{name}", action="append", default=[], metavar=name[0].upper(), help=f"only {words}"
        )
    add.add_argument("--comment", default="", metavar="TEXT", help="the reason, shown in lists")
    show = _command(
        actions, "list", "list silences and maintenance windows",
        "List silences in force and maintenance windows, each with the failures it silenced.",
    )  # fmt: skip
    show.add_argument("--json", action="store_true", help="write JSON")
    show.add_argument("--all", action="store_true", help="include those that ended this week")
    remove = _command(actions, "remove", "end a silence", "End a silence now.")
    remove.add_argument("id", metavar="ID", help="from `tcp-trace silence list`")
    return [add, show, remove]


def _command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
