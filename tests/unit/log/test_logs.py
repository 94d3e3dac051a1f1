"""The log: its lines, and what is not in them."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logs
from tcp_trace.settings import config
from tests.captured import Captured

if TYPE_CHECKING:
    from typing import TextIO

TOKEN = "cccccccccccccccccccccccc"
URL = f"https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/{TOKEN}"
HOSTILE = 'evil\n2026-01-01T00:00:00.000Z INFO forged\x1b[2J"\u202e\udcff\x7f'

log = logging.getLogger("tcp_trace.test")


def set_up(path: Path | None, stream: TextIO | None = None, **environ: str) -> logs.LogHandler:
    """Set logging up with a webhook that must not be seen."""
    settings = config.load({"SLACK_URL": URL, **environ}, None)
    return logs.setup(settings, path, stream or Captured())


def messages(path: Path) -> list[str]:
    """Return the messages of a file of JSON lines."""
    return [json.loads(line)["message"] for line in written(path).splitlines()]


def written(path: Path) -> str:
    """Return what a log has, once the lines that wait are written."""
    logs.flush()
    return path.read_text()


def test_json_line_has_named_fields(tmp_path: Path) -> None:
    """A line is one JSON object: time in UTC, level, logger, message, and each extra field."""
    set_up(tmp_path / "log")
    before = datetime.now(UTC)
    log.warning("connect %s", "failed", extra={"errno": "ECONNREFUSED", "path": Path("/x")})
    line = json.loads(written(tmp_path / "log"))
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z")
    assert abs((datetime.fromisoformat(stamp) - before).total_seconds()) < 1
    assert line == {
        "level": "warning",
        "logger": "tcp_trace.test",
        "message": "connect failed",
        "errno": "ECONNREFUSED",
        "path": "/x",
    }


def test_clock_writes_milliseconds() -> None:
    """The time is right in its last digit, also right after a second's turn and before it."""
    clock = logs._Clock()
    assert clock.iso(1700000000.9996) == "2023-11-14T22:13:20.999Z"
    assert clock.iso(1700000001.0) == "2023-11-14T22:13:21.000Z"
    assert clock.iso(1700000000.25) == "2023-11-14T22:13:20.250Z"


def test_text_line() -> None:
    """LOG_FORMAT=text writes time, level, message and fields, quoted where they have spaces."""
    stream = Captured()
    set_up(None, stream, LOG_FORMAT="text")
    log.info("ready", extra={"hook": "kprobe", "note": 'a "b"', "none": ""})
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'INFO    ready hook=kprobe note="a \\"b\\"" none=""\n'


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_hostile_text_stays_in_its_line(log_format: str) -> None:
    """Control characters, bidirectional marks, lone surrogates are escaped and forge no line."""
    stream = Captured()
    set_up(None, stream, LOG_FORMAT=log_format)
    log.info("comm %s", HOSTILE, extra={"comm": HOSTILE})
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isprintable()
    assert "forged" in written


def test_traceback_in_text_forges_no_line() -> None:
    """The lines of a traceback are indented, and what an error says is escaped."""
    stream = Captured()
    set_up(None, stream, LOG_FORMAT="text")
    log.error("failed", exc_info=ValueError(HOSTILE))
    first, *rest = stream.getvalue().splitlines()
    assert "ERROR   failed" in first
    assert rest
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_line_has_the_secret(log_format: str) -> None:
    """Neither message, argument, field, exception nor warning lets the webhook's path through."""
    stream = Captured()
    set_up(None, stream, LOG_FORMAT=log_format)
    path = URL.removeprefix("https://hooks.slack.com")
    quoted = path.replace("/", "%2F")
    log.error("message %s", URL, extra={"url": URL, "nested": {"deep": [path, quoted]}})
    error = ConnectionError(f"Max retries exceeded with url: {path} ({TOKEN})")
    log.error(URL, exc_info=error)
    warnings.warn(f"Unverified request to {URL}", stacklevel=1)
    written = stream.getvalue()
    assert "Unverified request to <secret>" in written
    assert TOKEN not in written
    assert "B0BBBBBBB" not in written
    assert written.count("<secret>") >= 7
    assert "hooks.slack.com" not in written.replace("<secret>", "")


def test_uncaught_errors_are_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that ends a thread or the process is logged, and not printed by Python itself."""
    stream = Captured()
    set_up(None, stream)

    def fail() -> None:
        raise RuntimeError(URL)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "uncaught error in a thread",
        "uncaught error",
    ]
    assert TOKEN not in stream.getvalue()
    assert TOKEN not in "".join(capsys.readouterr())


def test_short_path_is_not_redacted_everywhere() -> None:
    """A webhook with the path / redacts its URL, and not every slash."""
    stream = Captured()
    set_up(None, stream, SLACK_URL="http://127.0.0.1:8000/")
    log.info("a/b http://127.0.0.1:8000/")
    assert json.loads(stream.getvalue())["message"] == "a/b <secret>"


def test_reload_changes_format_and_level(tmp_path: Path) -> None:
    """Settings that are applied later hold from then on, where lines are written already."""
    set_up(tmp_path / "log")
    logs.apply(config.load({"LOG_FORMAT": "text", "LOG_LEVEL": "error"}, None))
    log.info("too quiet")
    log.error("heard")
    (line,) = written(tmp_path / "log").splitlines()
    assert line.endswith("ERROR   heard")


def test_field_that_cannot_be_formatted_is_survived(tmp_path: Path) -> None:
    """A line that cannot be formatted is counted, and the next one is written."""
    handler = set_up(tmp_path / "log")
    log.info("%d", "no number")
    log.info("fine")
    assert messages(tmp_path / "log")[0] == "fine"
    assert handler.lost == 1


def many(*ports: int) -> dict[str, list[dict[str, object]]]:
    """Return the extra of a record that stands for a line per port."""
    return {logs.EACH: [{"dport": port, "comm": f"{HOSTILE} {TOKEN}"} for port in ports]}


def test_a_record_can_be_many_lines(tmp_path: Path) -> None:
    """Each line of such a record is what it would be alone, in JSON, and shows no secret."""
    set_up(tmp_path / "log")
    log.warning("x", extra=many(1, 2, 3))
    log.warning("x", extra={"dport": 4, "comm": f"{HOSTILE} {TOKEN}"})
    lines = [json.loads(line) for line in written(tmp_path / "log").splitlines()]
    assert [line.pop("dport") for line in lines] == [1, 2, 3, 4]
    for line in lines:
        del line["timestamp"]
    assert lines == [lines[-1]] * 4
    assert TOKEN not in written(tmp_path / "log")


@pytest.mark.parametrize("comm", ["},{", '},{"dport"', '},{"dport":1', "}\n{", '"', "\\"])
def test_no_value_divides_a_line(tmp_path: Path, comm: str) -> None:
    """What looks like the end of a line and the beginning of the next in a value stays a value."""
    set_up(tmp_path / "log")
    fields = [{"dport": port, "comm": comm, "last": comm} for port in (1, 2, 3)]
    log.info("x", extra={logs.EACH: fields})
    log.info("x", extra={logs.EACH: [{"comm": comm}, {"comm": comm}]})
    lines = [json.loads(line) for line in written(tmp_path / "log").splitlines()]
    own = [{name: line[name] for name in ("dport", "comm", "last")} for line in lines[:3]]
    assert own == fields
    assert [line["comm"] for line in lines[3:]] == [comm, comm]


def test_a_record_can_be_many_lines_of_text(tmp_path: Path) -> None:
    """The same holds for text: a line each, whatever a field contains."""
    set_up(tmp_path / "log", LOG_FORMAT="text")
    log.warning("x", extra=many(1, 2, 3))
    lines = written(tmp_path / "log").splitlines()
    assert [line.partition(" comm=")[0][25:] for line in lines] == [
        f"WARNING x dport={port}" for port in (1, 2, 3)
    ]


def test_journal_gets_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stderr is the journal, each line says its priority; elsewhere it does not."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as stream, open(reader, "rb") as pipe:  # noqa: PTH123
        found = os.fstat(writer)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        set_up(None, stream)
        log.warning("x")
        assert pipe.readline().startswith(b'<4>{"timestamp"')
        log.warning("x", extra=many(1, 2))
        assert pipe.readline().startswith(b'<4>{"timestamp"')
        assert pipe.readline().startswith(b'<4>{"timestamp"')
        monkeypatch.setenv("JOURNAL_STREAM", "0:0")
        set_up(None, stream)
        log.warning("x")
        assert pipe.readline().startswith(b'{"timestamp"')


def test_closed_stderr_is_survived() -> None:
    """Nobody reading stderr any more does not stop the service."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8", buffering=1) as stream:  # noqa: PTH123
        handler = set_up(None, stream)
        log.info("x")
        logs.flush()
        assert handler.lost == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
