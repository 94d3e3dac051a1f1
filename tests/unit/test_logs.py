"""The log: its lines, what is not in them, and that it survives rotation and full disks."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import sys
import threading
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace import config, logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

TOKEN = "cccccccccccccccccccccccc"
URL = f"https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/{TOKEN}"
HOSTILE = 'evil\n2026-01-01T00:00:00.000Z INFO forged\x1b[2J"\u202e\udcff\x7f'

log = logging.getLogger("tcp_trace.test")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Undo what `setup` does to the whole process."""
    names = ("raiseExceptions", "logThreads", "logProcesses", "logMultiprocessing", "_srcfile")
    kept = {name: logging.__dict__[name] for name in names}
    hooks = sys.excepthook, threading.excepthook
    level = logging.root.level
    yield
    logging.__dict__.update(kept)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    logging.root.setLevel(level)
    for handler in list(logging.root.handlers):
        if isinstance(handler, logs.LogFile | logs.LogStream):
            logging.root.removeHandler(handler)
            handler.close()


def set_up(
    path: Path | None, stream: TextIO | None = None, **environ: str
) -> logs.LogFile | logs.LogStream:
    """Set logging up with a webhook that must not be seen."""
    settings = config.load({"SLACK_URL": URL, **environ}, None)
    return logs.setup(settings, path, stream or io.StringIO())


def set_up_file(path: Path) -> logs.LogFile:
    """Set logging to a file up."""
    handler = set_up(path)
    assert isinstance(handler, logs.LogFile)
    return handler


def messages(path: Path) -> list[str]:
    """Return the messages of a file of JSON lines."""
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def test_json_line_has_named_fields(tmp_path: Path) -> None:
    """A line is one JSON object: time in UTC, level, logger, message, and each extra field."""
    set_up(tmp_path / "log")
    before = datetime.now(UTC)
    log.warning("connect %s", "failed", extra={"errno": "ECONNREFUSED", "path": Path("/x")})
    line = json.loads((tmp_path / "log").read_text())
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
    stream = io.StringIO()
    set_up(None, stream, LOG_FORMAT="text")
    log.info("ready", extra={"hook": "kprobe", "note": 'a "b"', "none": ""})
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'INFO    ready hook=kprobe note="a \\"b\\"" none=""\n'


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_hostile_text_stays_in_its_line(log_format: str) -> None:
    """Control characters, bidirectional marks, lone surrogates are escaped and forge no line."""
    stream = io.StringIO()
    set_up(None, stream, LOG_FORMAT=log_format)
    log.info("comm %s", HOSTILE, extra={"comm": HOSTILE})
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isprintable()
    assert "forged" in written


def test_traceback_in_text_forges_no_line() -> None:
    """The lines of a traceback are indented, and what an error says is escaped."""
    stream = io.StringIO()
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
    stream = io.StringIO()
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
    stream = io.StringIO()
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
    stream = io.StringIO()
    set_up(None, stream, SLACK_URL="http://127.0.0.1:8000/")
    log.info("a/b http://127.0.0.1:8000/")
    assert json.loads(stream.getvalue())["message"] == "a/b <secret>"


def test_reload_replaces_the_handler(tmp_path: Path) -> None:
    """Setting up again, as a reload does, writes each line once and in the new format."""
    set_up(tmp_path / "log")
    set_up(tmp_path / "log", LOG_FORMAT="text", LOG_LEVEL="error")
    log.info("too quiet")
    log.error("heard")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("ERROR   heard")


def test_rotated_file_is_followed(tmp_path: Path) -> None:
    """After a rotation lines go to the new file, and none is lost."""
    path = tmp_path / "log"
    handler = set_up_file(path)
    log.info("one")
    path.rename(tmp_path / "log.1")
    path.touch()
    log.info("two")
    assert (messages(tmp_path / "log.1"), messages(path)) == (["one"], ["two"])
    assert handler.lost == 0


def test_gap_of_a_rotation_is_left_to_logrotate(tmp_path: Path) -> None:
    """Between rename and create the old file is written on, so that logrotate can create."""
    path = tmp_path / "log"
    set_up_file(path)
    path.rename(tmp_path / "log.1")
    log.info("in the gap")
    assert not path.exists()
    path.touch()
    log.info("after it")
    assert (messages(tmp_path / "log.1"), messages(path)) == (["in the gap"], ["after it"])


def test_deleted_file_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody deleted comes back after a second."""
    path = tmp_path / "log"
    set_up_file(path)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path.unlink()
    log.info("to nowhere")
    assert not path.exists()
    now = 101.1
    log.info("again")
    assert messages(path) == ["again"]


def test_lines_that_cannot_be_written_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """On a full disk logging neither raises nor prints; it counts."""
    handler = set_up_file(Path("/dev/full"))
    for _ in range(23):
        log.info("lost")
    assert handler.lost == 23
    assert "".join(capsys.readouterr()) == ""


def test_file_comes_back_after_its_directory_did(tmp_path: Path) -> None:
    """While the file cannot be opened lines are counted; once it can, they are written again."""
    directory = tmp_path / "d"
    directory.mkdir()
    path = directory / "log"
    handler = set_up_file(path)
    path.rename(tmp_path / "log.1")
    path.mkdir()
    log.info("lost")
    log.info("lost")
    assert handler.lost == 2
    path.rmdir()
    path.touch()
    log.info("back")
    assert messages(path) == ["back"]


def test_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    """What the disk took of a line stays a line of its own."""
    path = tmp_path / "log"
    handler = set_up_file(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        log.info("torn")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.info("whole")
    torn, whole = path.read_text().splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["message"] == "whole"
    assert handler.lost == 1


def test_field_that_cannot_be_formatted_is_survived(tmp_path: Path) -> None:
    """A line that cannot be formatted is counted, and the next one is written."""
    handler = set_up_file(tmp_path / "log")
    log.info("%d", "no number")
    log.info("fine")
    assert (handler.lost, messages(tmp_path / "log")) == (1, ["fine"])


def many(*ports: int) -> dict[str, list[dict[str, object]]]:
    """Return the extra of a record that stands for a line per port."""
    return {logs.EACH: [{"dport": port, "comm": f"{HOSTILE} {TOKEN}"} for port in ports]}


def test_a_record_can_be_many_lines(tmp_path: Path) -> None:
    """Each line of such a record is what it would be alone, in JSON, and shows no secret."""
    set_up(tmp_path / "log")
    log.warning("x", extra=many(1, 2, 3))
    log.warning("x", extra={"dport": 4, "comm": f"{HOSTILE} {TOKEN}"})
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.pop("dport") for line in lines] == [1, 2, 3, 4]
    for line in lines:
        del line["timestamp"]
    assert lines == [lines[-1]] * 4
    assert TOKEN not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("comm", ["},{", '},{"dport"', '},{"dport":1', "}\n{", '"', "\\"])
def test_no_value_divides_a_line(tmp_path: Path, comm: str) -> None:
    """What looks like the end of a line and the beginning of the next in a value stays a value."""
    set_up(tmp_path / "log")
    fields = [{"dport": port, "comm": comm, "last": comm} for port in (1, 2, 3)]
    log.info("x", extra={logs.EACH: fields})
    log.info("x", extra={logs.EACH: [{"comm": comm}, {"comm": comm}]})
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    own = [{name: line[name] for name in ("dport", "comm", "last")} for line in lines[:3]]
    assert own == fields
    assert [line["comm"] for line in lines[3:]] == [comm, comm]


def test_a_record_can_be_many_lines_of_text(tmp_path: Path) -> None:
    """The same holds for text: a line each, whatever a field contains."""
    set_up(tmp_path / "log", LOG_FORMAT="text")
    log.warning("x", extra=many(1, 2, 3))
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(" comm=")[0][25:] for line in lines] == [
        f"WARNING x dport={port}" for port in (1, 2, 3)
    ]


def test_every_line_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    """Of a record with many lines all that are not whole in the file are counted."""
    handler = set_up_file(Path("/dev/full"))
    log.info("lost", extra=many(*range(23)))
    assert handler.lost == 23
    handler = set_up_file(tmp_path / "log")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        log.info("torn", extra=many(*range(23)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert handler.lost == 23 - (tmp_path / "log").read_text().count("\n")
    assert 0 < handler.lost < 23


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
        assert handler.lost == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
