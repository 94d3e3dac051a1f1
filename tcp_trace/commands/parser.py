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
Watches every outbound TCP connect of this host from inside the kernel, and tells a
team, in Slack, which ones failed, why, and who made them."""

_EPILOG = """\
examples:
  tcp-trace check                    can this host run it? if not, what to do
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
  /var/lib/tcp-trace                 messages that wait, open incidents, silences

exit codes:
  0   as asked
  1   it failed; the reason is on stderr
  2   the command line is not understood
  78  the configuration is wrong; stderr has a line for each error"""

_RUN_DESCRIPTION = """\
Run the service. Started with privileges, it loads the kernel program and then goes on
without any, as SERVICE_USER. SIGHUP reads the configuration again, SIGTERM ends it."""

_SILENCE_DESCRIPTION = """\
Send no messages about some failures for a while: those that fit one of each kind given.
The running service heeds it at once. Failures are logged and counted all the same; an
incident that was reported before is still reported as over; one that goes on when the
silence ends is reported then, with the failures that were silenced."""

_PLACE_HELP = "an address, network or host name (*.example.com), with or without a port; :PORT; all"

_ENV_FILE_HELP = f"configuration (default: {ENV_FILE} where it exists; the environment wins)"


class Parser(argparse.ArgumentParser):
    """A parser whose messages escape what they quote of the command line."""

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
        "tell whether this host can run it",
        "Tell whether this host can run the service, and how to mend what keeps it from that.\n"
        "Sends no message. Exits with 1 if the service could not work.",
    )
    check.add_argument("--json", action="store_true", help="write JSON for a program")

    test_alert = _command(
        commands,
        "test-alert",
        "send one message to the webhook",
        "Send one message to each configured webhook, and show whether it was taken.",
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
        "List open incidents, the worst first, and those that ended lately, as the running\n"
        "service saved them last (within 2 s), or as the stopped one left them.",
    )
    incidents.add_argument("--json", action="store_true", help="write JSON for a program: all")
    incidents.add_argument("--all", action="store_true", help="list all, however many")
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
    until.add_argument("--for", dest="seconds", metavar="2h", help="for how long")
    until.add_argument(
        "--until-recovered", action="store_true",
        help="until the incident of one DESTINATION is over (or for 30 days)",
    )  # fmt: skip
    for name, words in (
        ("process", "of processes of this name (a pattern: psql, 'php*')"),
        ("unit", "of this systemd unit (a pattern: shop, 'backup@*')"),
        ("pod", "of this pod (a pattern of its UID)"),
        ("container", "of this container (its id as messages show it, or a pattern)"),
        ("reason", "of this reason (refused, timed_out, ...)"),
    ):
        add.add_argument(
            f"--{name}", action="append", default=[], metavar=name[0].upper(), help=f"only {words}"
        )
    add.add_argument("--comment", default="", metavar="TEXT", help="why, for those who list it")
    show = _command(
        actions, "list", "list silences and maintenance windows",
        "List the silences in force, and the maintenance windows, with the failures each silenced.",
    )  # fmt: skip
    show.add_argument("--json", action="store_true", help="write JSON for a program")
    show.add_argument("--all", action="store_true", help="also those that ended this week")
    remove = _command(actions, "remove", "end a silence", "End a silence now.")
    remove.add_argument("id", metavar="ID", help="as `tcp-trace silence list` shows it")
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
