"""Process names as an attacker would choose them, in every output."""

from __future__ import annotations

import json
import logging
import random
import re
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands.listing import Wanted, incidents
from tcp_trace.connects.events import Failure
from tcp_trace.connects.tracker import Tracker
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.policy import Policy
from tcp_trace.log import lines, logs
from tcp_trace.notify.outbox import Outbox, present
from tcp_trace.notify.receivers.alertmanager import Alerts
from tcp_trace.notify.receivers.plainjson import json_payload
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.receivers.slack import slack_payload
from tcp_trace.probes.transitions import decode
from tcp_trace.settings import config
from tests.captured import Captured
from tests.reliability.pipeline import record
from tests.seen import Always
from tests.unit.notify.test_webhook_schema import SCHEMA, misfits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.incidents.notification import Notification
    from tests.figures import Figures

HOSTILE = {
    "mentions everybody": b"<!channel>",
    "mentions in Mattermost": b"@all @here",
    "a link": b"<http://a|b>",
    "ends a code span": b"`*x*` _y_ ~z~",
    "an entity": b"&lt;!here&gt;",
    "a line of its own": b"a\nb\rc\x0bd\x0ce\x85",
    "a field of a text line": b'x" pid=1 uid=0',
    "a JSON line": b'"},"pid":0,{"',
    "a terminal's escape": b"\x1b]0;x\x07\x1b[2J",
    "from right to left": "\u202egpj.x\u2066".encode(),
    "unseen": "\u200b\u3164\u00ad".encode(),
    "invalid UTF-8": b"\xff\xfe\xc0\x80\xed\xa0\x80",
    "cut in a character": "ääääääää".encode()[:15],
    "a template": b"{{.}}${x}%s%n",
    "nothing": b"",
    "blank": b"               ",
    "a backslash": b"\\x00\\n\\u202e",
}
RANDOM = 2_000
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def unseen(text: str) -> re.Match[str] | None:
    """Return what is not seen of a text; letters from right to left stand in isolates."""
    return UNSEEN.search(re.sub("\u2068([^\u2066-\u2069]*)\u2069", r"\1", text))


def happens(comm: bytes, *, decoded: bool = True) -> tuple[Failure, Notification]:
    """Return the failure, and what is told of it, of a process with this name.

    With `decoded` the name is as the edge lets it in, which escapes a part of it; without, every
    output has to cope with it alone.
    """
    outcome = Tracker().judge(decode(record(7, "192.0.2.1", comm=comm), 0.0))
    assert isinstance(outcome, Failure)
    if not decoded:
        assert outcome.process is not None
        text = comm.decode("utf-8", "surrogateescape")
        outcome = outcome._replace(process=outcome.process._replace(comm=text))
    (notification,) = Incidents(Policy(after=1)).failed(outcome, present(), Always())
    return outcome, notification


@pytest.fixture(params=["json", "text"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Captured]:
    """Return what is logged, in either format."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = Captured()
    environ = {"LOG_FORMAT": request.param, "STATE_DIR": str(tmp_path)}
    handler = logs.setup(config.load(environ, None), None, stream)
    yield stream
    root.removeHandler(handler)
    root.handlers = before
    root.setLevel(level)


def check_log(written: str, failure: Failure) -> None:
    """Check that it is one line, of which the name is one field."""
    assert written.endswith("\n")
    line = written[:-1]
    assert not UNSEEN.search(line)
    assert failure.process is not None
    if line.startswith("{"):
        parsed = json.loads(line)
        assert parsed["comm"] == failure.process.comm
        assert parsed["pid"] == 4_000_000
    else:
        assert len(re.findall(r"(?:^| )uid=", re.sub(r'"(?:[^"\\]|\\.)*"', '""', line))) == 1


def check_slack(notification: Notification) -> None:
    """Check that no markup is left, and names stand in code spans of their own."""
    payload = slack_payload(notification, "web-1")
    shown = payload["text"] + "".join(
        str(block.get("text", "")) + str(block.get("fields", "")) for block in payload["blocks"]
    )
    for text in (payload["text"], shown):
        no_dates = re.sub(r"<!date\^\d+\^[^|<>]*\|[^<>]*>", "", text)
        assert not set("<>") & set(no_dates)
        assert not unseen(no_dates.replace("\n", ""))
        assert re.sub(r"&(?:amp|lt|gt);", "", no_dates).count("&") == 0
    for line in payload["text"].splitlines():
        assert line.count("`") % 2 == 0
        assert "@" not in re.sub(r"`[^`]*`", "", line)


def check_json(notification: Notification) -> None:
    """Check that it fits its schema, whatever the name."""
    body = json.dumps(json_payload(notification, "web-1"))
    assert body.isascii()
    payload = json.loads(body)
    assert misfits(payload, SCHEMA) == []
    assert not unseen(payload["text"].replace("\n", ""))


def check_alerts(notification: Notification) -> None:
    """Check that it can be put into any template."""
    (alert,) = Alerts().payload(notification, Envelope("web-1"))
    annotations = alert["annotations"]
    assert not set("<>@`") & set(str(list(annotations.values())).replace("\\u", ""))
    assert not unseen(annotations["summary"])
    assert annotations["description"].count("\n") == json_payload(notification, "web-1")[
        "text"
    ].count("\n")
    assert str(annotations).isprintable() or "\\" in str(annotations)


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_harmless_in_every_output(
    name: str, log: Captured, tmp_path: Path, *, decoded: bool
) -> None:
    """JSON log, text log, Slack, JSON webhook, Alertmanager and the tables of the command line."""
    failure, notification = happens(HOSTILE[name][:15], decoded=decoded)
    lines.write_failures([failure])
    check_log(log.getvalue(), failure)
    check_slack(notification)
    check_json(notification)
    check_alerts(notification)
    check_table(tmp_path, failure)


def check_table(folder: Path, failure: Failure) -> None:
    """Check that `tcp-trace incidents` shows nothing that a terminal obeys."""
    told = Incidents(Policy(after=1))
    notifications = told.failed(failure, present(), Always())
    outbox = Outbox(folder / "outbox.db")
    outbox.commit(notifications, told.dump(present()))
    outbox.close()
    shown = incidents(folder, Wanted(as_json=False, everything=True, columns=200))
    assert len(shown.splitlines()) == 7
    assert not unseen(shown.replace("\n", ""))
    as_json = incidents(folder, Wanted(as_json=True, everything=True, columns=200))
    assert json.loads(as_json)["incidents"]


def test_15_bytes_of_anything(log: Captured, figure: Figures) -> None:
    """No bytes at all make a line, a mention, markup or an exception."""
    seed = random.randrange(2**32)  # noqa: S311 - which bytes is no secret
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    rng = random.Random(seed)  # noqa: S311
    alphabet = b"<>&@`!|*_~\n\r\t\x00\x1b\"'\\{}=% ax\xff\xc3\xe2\x80\xae"
    for number in range(RANDOM):
        size = rng.randrange(16)
        comm = rng.randbytes(size) if number % 2 else bytes(rng.choices(alphabet, k=size))
        failure, notification = happens(comm, decoded=number % 4 < 2)
        log.clear()
        lines.write_failures([failure])
        check_log(log.getvalue(), failure)
        check_slack(notification)
        check_json(notification)
        check_alerts(notification)
    if log.getvalue().startswith("{"):
        figure(
            "process names made to harm: markup, mentions, newlines, escapes, invalid UTF-8, bytes"
            " of anything",
            "a name that reads oddly",
            f"{len(HOSTILE)} chosen names in JSON log, text log, Slack, JSON webhook, Alertmanager"
            f" and tables, {RANDOM:,} random ones for each log format in all of these but the"
            " tables: none got out of its place",
        )
