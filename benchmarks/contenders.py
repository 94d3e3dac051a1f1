"""Who is compared: how each is started, how it shows that it is ready, and what it told."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import figures
from benchmarks.load import OPEN_PORT, REFUSED_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LOST_SAMPLES = re.compile(r"[Ll]ost (\d+) samples")
_PLAIN_FAILURE = re.compile(r" port (\d+) failed: ")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of those compared.

    `command` runs with `environment` on top of the runner's; its stdout goes to a file. `told` is
    the file in which its failures stand: "stdout" or "log" (which `{log}` in the command or the
    environment names). `failed_port` reads one line of it, None for a tool that tells no failures.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    """How it shows that it watches: "notify" (READY=1), "stdout" (the word ready) or "poll"."""
    environment: Mapping[str, str] = field(default_factory=dict)
    told: str = "stdout"
    failed_port: Callable[[str], int | None] | None = None
    lost: Callable[[str, str], int]
    """From the ends of its log and of its stderr: how many records it lost."""


def service_failure(line: str) -> int | None:
    """Return the port of a JSON line of this service that tells a failed connect."""
    # Most lines of EVENTS=all are something else: do not parse a million of them.
    if '"message":"connect failed"' not in line:
        return None
    return int(json.loads(line)["dport"])


def plain_failure(line: str) -> int | None:
    """Return the port of a line of the plain design that tells a failed connect."""
    found = _PLAIN_FAILURE.search(line)
    return int(found[1]) if found else None


def tcpstates_failure(line: str) -> int | None:
    """Return the port of a line of tcpstates from which a reader sees a failed connect.

    SKADDR C-PID C-COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS, of which only COMM can
    have blanks.
    """
    words = line.split()
    if len(words) < 11 or words[-4:-1] != ["SYN_SENT", "->", "CLOSE"]:
        return None
    return int(words[-5])


def count_failures(
    lines: Iterable[str], failed_port: Callable[[str], int | None]
) -> tuple[int, int]:
    """Return how many failures were told of the open port (false alarms) and the refused one."""
    ports = [port for port in map(failed_port, lines) if port is not None]
    return ports.count(OPEN_PORT), ports.count(REFUSED_PORT)


def lost_by_service(log: str, _errors: str) -> int:
    """Return the records lost as the service's last line tells them. Raises ValueError."""
    for line in reversed(log.splitlines()):
        if '"message":"stopped"' in line:
            return int(json.loads(line)["lost"])
    raise ValueError("the service's log has no line that it stopped")


def lost_by_bcc(_log: str, errors: str) -> int:
    """Return the records lost as BCC tells them on stderr: `Possibly lost 12 samples`."""
    return sum(int(number) for number in _LOST_SAMPLES.findall(errors))


def contenders(webhook: str, tools: Path = Path("/usr/sbin")) -> Sequence[Contender]:
    """Return all contenders; `webhook` is told failures by those that tell somebody."""
    return (
        *(_service(mode, webhook) for mode in ("failures", "attempts", "all")),
        _tool(figures.TCPSTATES, tools / "tcpstates-bpfcc", tcpstates_failure),
        _tool(figures.TCPCONNLAT, tools / "tcpconnlat-bpfcc", None),
        _tool(figures.TCPTRACER, tools / "tcptracer-bpfcc", None),
        Contender(
            name=figures.PLAIN,
            command=(sys.executable, str(Path(__file__).with_name("plain.py"))),
            ready="stdout",
            environment={"SLACK_URL": webhook, "LOG_FILE": "{log}"},
            told="log",
            failed_port=plain_failure,
            lost=lost_by_bcc,
        ),
    )


def idle() -> Contender:
    """Return programs that do nothing on the service's hooks: the least that a tool costs."""
    return Contender(
        name="idle programs",
        command=(sys.executable, str(Path(__file__).with_name("idle.py"))),
        ready="stdout",
        lost=lost_by_bcc,
    )


def _service(mode: str, webhook: str) -> Contender:
    return Contender(
        name=f"this service, EVENTS={mode}",
        command=("tcp-trace", "run", "--env-file", "/dev/null", "--log-file", "{log}"),
        ready="notify",
        environment={"SLACK_URL": webhook, "EVENTS": mode, "STATE_DIR": "{state}"},
        told="log",
        failed_port=service_failure,
        lost=lost_by_service,
    )


def _tool(name: str, path: Path, failed_port: Callable[[str], int | None] | None) -> Contender:
    return Contender(
        name=name, command=(str(path),), ready="poll", failed_port=failed_port, lost=lost_by_bcc
    )
