"""Every variable of the configuration, in one table.

The parsing, the example file in `systemd/`, `tcp-trace run --help` and the table in the README all
come from it.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.watch import parse_destinations, parse_hosts
from tcp_trace.settings import values
from tcp_trace.settings.values import Events, Hook, LogFormat, LogLevel, LostRaces
from tcp_trace.silences.maintenance import parse_windows

if TYPE_CHECKING:
    from collections.abc import Callable


class Variable(NamedTuple):
    """One variable. The example file, `--help` and the README are generated from it.

    `default` is text as a user would write it, empty for none; `shown` replaces it for people
    where it depends on the host. `example` is a value worth showing. `at_start` means that a
    change takes effect at the next start only, not on reload. The value of a `secret` is in no
    error: it is the webhook, or may be by mistake.
    """

    name: str
    default: str
    parse: Callable[[str], object]
    help: str
    shown: str = ""
    example: str = ""
    at_start: bool = False
    secret: bool = False


VARIABLES = (
    Variable(
        "SLACK_URL",
        "",
        values.slack_url,
        "Incoming webhook of Slack (or Mattermost, Rocket.Chat) that gets the messages. It is a"
        " secret: whoever knows it can post. Without one, failures are only logged.",
        shown="none",
        example="https://hooks.slack.com/services/...",
        secret=True,
    ),
    Variable(
        "SLACK_URL_FILE",
        "",
        values.absolute_path,
        "A file that holds the webhook, in place of SLACK_URL. Under systemd, a credential called"
        " slack_url does the same.",
        shown="none",
        example="/etc/tcp-trace/slack_url",
        secret=True,
    ),
    Variable(
        "ROUTES_FILE",
        "",
        values.absolute_path,
        "A file with more webhooks (Slack, JSON, Alertmanager), and routes to them by destination,"
        " unit, pod, container or reason. Unmatched messages go to SLACK_URL.",
        shown="none",
        example="/etc/tcp-trace/routes.toml",
    ),
    Variable(
        "DEST_IP",
        "",
        parse_destinations,
        "What to watch: addresses, networks and host names, separated by commas, each with a port"
        " if only that port is meant. Names are resolved again and again. Empty: everything.",
        shown="every destination",
        example="10.0.0.0/8,172.217.161.228:443,[2001:db8::]/32,[2001:db8::1]:443,db.example.com",
    ),
    Variable(
        "DEST_HOST",
        "",
        parse_hosts,
        "Host names to watch, as in DEST_IP. Without DEST_IP, nothing else is watched.",
        shown="none",
        example="db.example.com:5432,api.example.com",
    ),
    Variable(
        "ALERT_AFTER",
        "auto",
        values.alert_after,
        "auto: a destination that DEST_IP or DEST_HOST name is reported with its first failure,"
        " any other when it is down or degraded. 1: every failure is. 3/60s: so many failures of a"
        " destination within that time, or in a row. A number alone means within a minute.",
        example="3/60s",
    ),
    Variable(
        "ALERT_DOWN",
        "3/10s",
        values.alert_down,
        "With ALERT_AFTER=auto: how many failures in a row, and how long after the first of them,"
        " mean that a destination that worked before is down.",
    ),
    Variable(
        "DIGEST",
        "daily",
        values.digest,
        "When to send one message on all failures that were not worth a message: daily (09:00"
        " UTC), an hour of the day (UTC, 0 to 23), or off.",
    ),
    Variable(
        "ALERT_INTERVAL",
        "5m",
        values.duration,
        "The least time between two messages of an open incident; each counts the failures since.",
    ),
    Variable(
        "ALERT_REPEAT",
        "12h",
        values.duration,
        "When to send a reminder of an incident that fails on without news; each further one waits"
        " twice as long, up to a day.",
    ),
    Variable(
        "RESOLVE_AFTER",
        "2m",
        values.duration,
        "An incident is over when connects succeed again and none has failed for this time.",
    ),
    Variable(
        "ALERT_MENTION",
        "",
        values.mention,
        "Whom to mention, and so wake, when an incident opens or becomes critical: @channel,"
        " @here, or Slack's id of a user group or a user; several with commas.",
        shown="nobody",
        example="@here,S0123ABCD",
    ),
    Variable(
        "MAINTENANCE",
        "",
        parse_windows,
        "Hours in which failures are counted and logged, but no message is sent, separated by"
        " semicolons: days, hours, a time zone (default: UTC), and which failures (default: all),"
        " as destinations (addresses, networks, names such as *.example.com) or process=, unit=,"
        " pod=, container= or reason=.",
        shown="none",
        example="Sun 02:00-04:00; daily 23:45-00:15 Europe/Berlin 10.0.0.0/8 unit=backup*",
    ),
    Variable(
        "EVENTS",
        "failures",
        values.choice(Events),
        "What the kernel submits: failures, attempts (each connect and its outcome), or all (every"
        " state change of a watched socket). All of it is logged; more costs more.",
        at_start=True,
    ),
    Variable(
        "HOOK",
        "auto",
        values.choice(Hook),
        "Where to attach: kprobe, tracepoint, or auto (kprobe, and tracepoint where the kernel"
        " has no kprobes).",
        at_start=True,
    ),
    Variable(
        "LOST_RACES",
        "ignore",
        values.choice(LostRaces),
        "ignore: a connect that a program closes because another address of the same name, often of"
        " the other family, was faster (Happy Eyeballs), is counted and no failure. alert: it is"
        " one.",
        at_start=True,
    ),
    Variable(
        "DNS_NAMES",
        "on",
        values.switch,
        "on: messages and log have the host name that was asked for, from the DNS answers that"
        " programs receive; off: addresses alone.",
        at_start=True,
    ),
    Variable(
        "RING_MB",
        "8",
        values.ring_mb,
        "MiB of kernel memory in which failures wait to be read, a power of two. 8 hold 52,000."
        " Raise it when the log reports lost records.",
        example="16",
        at_start=True,
    ),
    Variable(
        "METRICS",
        "",
        values.metrics,
        "An address of loopback and a port at which Prometheus reads the metrics; needs"
        " the package python3-prometheus-client.",
        shown="nowhere",
        example="127.0.0.1:9410",
        at_start=True,
    ),
    Variable(
        "METRICS_DESTINATIONS",
        "0",
        values.metrics_destinations,
        "Number of destinations with metrics of their own, up to"
        f" {values.METRICS_DESTINATIONS_MAX:,}: a latency histogram for those with the most"
        " connects, and the retransmits of those with the most. One histogram over all destinations"
        " is always there.",
        example="20",
        at_start=True,
    ),
    Variable(
        "LOG_FORMAT",
        "json",
        values.choice(LogFormat),
        "json (a JSON object per line) or text.",
    ),
    Variable("LOG_LEVEL", "info", values.choice(LogLevel), "debug, info, warning or error."),
    Variable(
        "HOST_NAME",
        "",
        values.host_name,
        "The name of this host in messages.",
        shown="the host's name",
        example="db-1.example.com",
    ),
    Variable(
        "STATE_DIR",
        "/var/lib/tcp-trace",
        values.absolute_path,
        "A directory for pending messages, open incidents and silences.",
        shown="systemd's StateDirectory, else /var/lib/tcp-trace",
        example="/var/lib/tcp-trace",
        at_start=True,
    ),
    Variable(
        "SERVICE_USER",
        "tcp-trace",
        values.user_name,
        "The user to run as once the kernel program is attached, when started as root. It must be"
        " the service's own: neither root nor nobody.",
        at_start=True,
    ),
)


def example_file() -> str:
    """Return the commented example of an env file: `systemd/tcp-trace.env.example`."""
    blocks = [_EXAMPLE_HEAD]
    for item in VARIABLES:
        comment = textwrap.fill(item.help, 98, initial_indent="# ", subsequent_indent="# ")
        default = f"# Default: {item.shown or item.default}."
        if item.at_start:
            default += " A change takes effect at the next restart."
        blocks.append(f"{comment}\n{default}\n#{item.name}={item.example or item.default}\n")
    return "\n".join(blocks)


def help_text() -> str:
    """Return the variables' part of `tcp-trace run --help`."""
    lines = ["variables, in the environment or in the env file:"]
    for item in VARIABLES:
        text = f"{item.help} Default: {item.shown or item.default}."
        lines.append(f"  {item.name}")
        lines.append(textwrap.fill(text, 84, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)


def markdown_table() -> str:
    """Return the table of the README."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for item in VARIABLES:
        default = item.shown or f"`{item.default}`"
        rows.append(f"| `{item.name}` | {default} | {item.help} |")
    return "\n".join(rows) + "\n"


_EXAMPLE_HEAD = """\
# Configuration of tcp_trace: /etc/tcp-trace/tcp-trace.env
#
# NAME=value, one a line; # begins a comment; quotes are allowed and ${X} is not expanded. The
# process environment wins over this file. Check it with `tcp-trace check`, put it to use with
# `systemctl reload tcp-trace`.
"""
