"""Logging: JSON lines or text, to a file that survives rotation or to stderr, without secrets.

Fields are given as `extra=`: `log.info("connect failed", extra={"errno": "ECONNREFUSED"})`. With
`EVENTS=all` a burst of connects writes thousands of lines, so a line must be cheap: one record may
stand for many lines (`EACH`), the encoder is created once, and `_drop_unused_fields` switches off
costly fields.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tcp_trace.log.logfile import LogFile
from tcp_trace.log.redaction import redaction
from tcp_trace.log.sinks import Sink, Stream
from tcp_trace.safetext import printable
from tcp_trace.settings.values import LogFormat

try:
    from pythonjsonlogger.json import JsonFormatter
except ImportError:  # before 3.1 it was here
    from pythonjsonlogger.jsonlogger import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from tcp_trace.log.sinks import Place, Target
    from tcp_trace.settings.config import Settings

EACH = "each"
"""The extra field that turns one record into many lines: a list with the `extra` of each line.

All have the same names in the same order, and plain values. They share a time and are written at
once; a line then costs a quarter."""

FLUSH_SECONDS = 2.0
"""Seconds that the shutdown waits for a blocked log."""

_PRIORITIES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}
# Errors of the log itself go to stderr alone.
_complaints = logging.getLogger("tcp_trace.complaints")
_complaints.propagate = False
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogHandler(logging.Handler):
    """Formats records and leaves the writing to a sink: no logging thread waits for a disk.

    With `journal`, lines begin with their priority, which the journal removes.
    """

    def __init__(self, target: Target, *, journal: bool = False) -> None:
        super().__init__()
        self.sink = Sink(target)
        self._journal = journal

    @property
    def lost(self) -> int:
        """The number of lines that could not be written: a full disk must not stop the service."""
        return self.sink.lost

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the lines of a record; never raises, never waits."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # noqa: BLE001  a line that cannot be formatted must not stop the service
            self.sink.drop(len(getattr(record, EACH, (record,))))
        else:
            self.sink.put(line.encode("utf-8", "backslashreplace"))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        text = super().format(record)
        if not self._journal:
            return text
        priority = _PRIORITIES.get(record.levelname, "")
        if hasattr(record, EACH):
            text = text.replace("\n", "\n" + priority)
        return priority + text

    def flush(self) -> None:
        """Wait until the lines are written, at most `FLUSH_SECONDS`."""
        self.sink.flush(FLUSH_SECONDS)

    def close(self) -> None:
        """Release the target once the queued lines are written."""
        self.sink.close()
        super().close()


class JsonLines(JsonFormatter):  # type: ignore[misc]  # the library has no types
    """One JSON object per line: timestamp, level, logger, message, and the record's extra fields.

    JSON itself escapes everything but printable ASCII.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(message)s")
        self._encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
        self._redact = redact
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; without a traceback, in half of the base class's time."""
        if record.exc_info or record.stack_info:
            return str(super().format(record))
        record.message = record.getMessage()
        data: dict[str, Any] = {}
        self.add_fields(data, record, {})
        each: list[dict[str, Any]] | None = data.pop(EACH, None)
        return self.jsonify_log_record(data) if each is None else self._lines(data, each)

    def _lines(self, common: dict[str, Any], each: list[dict[str, Any]]) -> str:
        """Return a line for each: the common fields, encoded once, then its own.

        All are encoded at once, then split where an object ends and the next begins with the first
        name. No value can imitate that: inside a string quotes are escaped, and no name follows the
        quote that ends one.
        """
        head = self._encode(common)[:-1] + ","
        first = self._encode(next(iter(each[0])))
        objects = self._encode(each)[2:-1]
        return self._redact(head + objects.replace("},{" + first, "}\n" + head + first))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return JSON without secrets; the base class would create an encoder for every line."""
        return self._redact(self._encode(log_data))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill `log_data`, as the base class does, with the fields of this service."""
        log_data["timestamp"] = self._clock.iso(record.created)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.message
        log_data |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        log_data |= message_dict


class TextLines(logging.Formatter):
    """`timestamp LEVEL message field=value ...`, in one line whatever the text contains.

    Only a traceback takes more lines; they are indented, so that none looks like a record.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        head = f"{self._clock.iso(record.created)} {record.levelname:<7} "
        head += printable(record.getMessage())
        extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        each = extra.pop(EACH, [{}])
        line = "\n".join([head + _fields({**extra, **fields}) for fields in each])
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    | {printable(part)}" for part in trace)
        return self._redact(line)


class _Clock:
    """Writes ISO-8601 times in UTC; the part without milliseconds is reused within a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def iso(self, created: float) -> str:
        """Return `2026-01-31T23:59:59.123Z` for seconds since the epoch."""
        second = int(created)
        text = self._text
        if second != self._second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second, self._text = second, text
        return f"{text}.{int((created - second) * 1000):03d}Z"


def setup(settings: Settings, log_file: Path | None, stream: TextIO) -> LogHandler:
    """Log everything to `log_file`, or without one to `stream`, as the settings say.

    Errors of the file go to the stream. Returns the handler; its `lost` counts lines that could not
    be written. Raises OSError if the file cannot be opened.
    """
    handler = LogHandler(Stream(stream), journal=_is_journal(stream))
    handler.setFormatter(_formatter(settings))
    _complaints.handlers = [handler] if log_file else []
    if log_file:
        handler = LogHandler(LogFile(log_file, _complaints))
    root = logging.getLogger()
    for old in _handlers():
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    apply(settings)
    _drop_unused_fields()
    _catch_the_uncaught()
    return handler


def apply(settings: Settings) -> None:
    """Use the format and level of these settings from now on; keep the target."""
    for handler in (*_handlers(), *_complaints.handlers):
        handler.setFormatter(_formatter(settings))
    logging.getLogger().setLevel(settings.log_level.name)
    # urllib3 logs the webhook's path.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def flush() -> None:
    """Wait until all lines are written, at most `FLUSH_SECONDS`."""
    for handler in (*_handlers(), *_complaints.handlers):
        handler.flush()


def after(callback: Callable[[], None], before: Callable[[Place], None] | None = None) -> None:
    """Call this, from another thread, once all lines so far are written; see `Sink.after`."""
    for handler in _handlers()[:1]:
        handler.sink.after(callback, before)


def hold() -> None:
    """Hold lines until `after`, to write them together; see `Sink.hold`."""
    for handler in _handlers()[:1]:
        handler.sink.hold()


def began_with(place: Place) -> bool:
    """Return whether the log was that file, of at least that size, when it was opened."""
    return any(handler.sink.began_with(place) for handler in _handlers()[:1])


def lost_lines() -> int:
    """Return the number of lines that could not be written since `setup`."""
    return sum(handler.lost for handler in _handlers())


def _formatter(settings: Settings) -> logging.Formatter:
    redact = redaction(settings.secrets)
    return JsonLines(redact) if settings.log_format is LogFormat.JSON else TextLines(redact)


def _handlers() -> list[LogHandler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]


def _fields(fields: dict[str, Any]) -> str:
    return "".join([f" {key}={_field(value)}" for key, value in fields.items()])


def _field(value: object) -> str:
    text = printable(str(value))
    return text if text and not set(text) & set(' ="') else json.dumps(text, ensure_ascii=False)


def _is_journal(stream: TextIO) -> bool:
    """Return whether systemd connected this stream to the journal (see systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _drop_unused_fields() -> None:
    """Keep logging from looking up caller, thread and process for each line (see its docs)."""
    logging.raiseExceptions = False
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.__dict__["_srcfile"] = None
    if hasattr(logging, "logAsyncioTasks"):  # since Python 3.12
        logging.logAsyncioTasks = False


def _catch_the_uncaught() -> None:
    """Log warnings and uncaught exceptions: printed on stderr they would not be redacted."""
    log = logging.getLogger("tcp_trace")
    logging.captureWarnings(capture=True)

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401
        log.critical("uncaught error", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value or args.exc_type()
        log.critical("uncaught error in a thread", exc_info=error)

    sys.excepthook = uncaught
    threading.excepthook = in_thread
