"""Logging: JSON lines or text, to a file that survives rotation or to stderr, and no secret in it.

Fields are given as `extra=`: `log.info("connect failed", extra={"errno": "ECONNREFUSED"})`. With
`EVENTS=all` a burst of connects writes thousands of lines, so that what a line costs was
measured: a record may stand for many lines (`EACH`), and the switches in
`_spare_what_nobody_reads` and the prepared encoder are for that, too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from tcp_trace.core.safetext import printable
from tcp_trace.redaction import redaction
from tcp_trace.values import LogFormat

try:
    from pythonjsonlogger.json import JsonFormatter
except ImportError:  # before 3.1 it was here
    from pythonjsonlogger.jsonlogger import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from tcp_trace.config import Settings

EACH = "each"
"""The name of the extra field that makes one record many lines: a list of what would have been the
`extra` of each, all with the same names in the same order and plain values. They share a time and
are written at once, and a line then costs a quarter."""

# logrotate renames the file and then creates the new one. Whoever recreates it in between makes
# logrotate move that one out of the way; so a missing file is left missing for this long.
_ROTATION_GRACE = 1.0

_PRIORITIES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogFile(WatchedFileHandler):
    """A log file that is opened anew once it was rotated, one unbuffered write per record.

    Where a line cannot be written (the disk is full), it is counted in `lost` and nothing else
    happens: a service that watches must not stop, nor tell of it where it cannot write.
    """

    def __init__(self, path: Path) -> None:
        self.lost = 0
        self._torn = False
        self._missing_since: float | None = None
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:  # noqa: ANN401  the base class is typed for text files
        return open(self.baseFilename, "ab", buffering=0)  # noqa: PTH123

    def reopenIfNeeded(self) -> None:  # noqa: N802  the base class's name
        """Open the file anew if the path is another file by now, or none for a second."""
        try:
            found = os.stat(self.baseFilename)  # noqa: PTH116  a third of Path.stat's time
        except FileNotFoundError:
            now = time.monotonic()
            self._missing_since = self._missing_since or now
            if self.stream is not None and now - self._missing_since < _ROTATION_GRACE:
                return
        else:
            self._missing_since = None
            if (found.st_dev, found.st_ino) == (self.dev, self.ino) and self.stream is not None:
                return
        fresh = self._open()
        if self.stream is not None:
            self.stream.close()
        self.stream = fresh
        self._torn = False
        self._missing_since = None
        self._statstream()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or the lines, of a record; never raises."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # noqa: BLE001  a line that cannot be formatted must not stop the service
            self.handleError(record)
            return
        try:
            self.reopenIfNeeded()
            self._write(line.encode("utf-8", "backslashreplace"))
        except OSError:
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        stream: Any = self.stream
        if self._torn:
            data = b"\n" + data
        written = stream.write(data)
        self._torn = written < len(data)
        if self._torn:
            self.lost += data.count(b"\n", written)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Count the lines of a record that could not be written."""
        self.lost += _line_count(record)


class LogStream(logging.StreamHandler["TextIO"]):
    """Lines to stderr; with their priority in front where the journal reads them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost = 0
        self._journal = _is_journal(stream)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        text = super().format(record)
        if not self._journal:
            return text
        priority = _PRIORITIES.get(record.levelname, "")
        if hasattr(record, EACH):
            text = text.replace("\n", "\n" + priority)
        return priority + text

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Count the lines of a record that could not be written."""
        self.lost += _line_count(record)


class JsonLines(JsonFormatter):  # type: ignore[misc]  # it comes without types
    """One JSON object per line: timestamp, level, logger, message, and the record's extra fields.

    All but printable ASCII is escaped by JSON itself.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(message)s")
        self._encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
        self._redact = redact
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, in half of the base class's time where it is plain."""
        if record.exc_info or record.stack_info:
            return str(super().format(record))
        record.message = record.getMessage()
        data: dict[str, Any] = {}
        self.add_fields(data, record, {})
        each: list[dict[str, Any]] | None = data.pop(EACH, None)
        return self.jsonify_log_record(data) if each is None else self._lines(data, each)

    def _lines(self, common: dict[str, Any], each: list[dict[str, Any]]) -> str:
        """Return a line for each: the common fields, which are encoded once, and its own.

        All are encoded at once and then taken apart where an object ends and the next begins with
        the first name. No value can pretend that: in a string a quote is escaped, and behind the
        quote that ends one is no name.
        """
        head = self._encode(common)[:-1] + ","
        first = self._encode(next(iter(each[0])))
        objects = self._encode(each)[2:-1]
        return self._redact(head + objects.replace("},{" + first, "}\n" + head + first))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return JSON without the secret; the base class makes an encoder for every line."""
        return self._redact(self._encode(log_data))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill `log_data`; what the base class does, for the fields that this service has."""
        log_data["timestamp"] = self._clock.iso(record.created)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.message
        log_data |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        log_data |= message_dict


class TextLines(logging.Formatter):
    """`timestamp LEVEL message field=value ...`, in one line whatever the text contains.

    Only a traceback takes further lines; they are indented, so that none looks like a record.
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
    """Writes ISO-8601 times in UTC; the part down to the second is kept for the next line."""

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


def setup(settings: Settings, log_file: Path | None, stream: TextIO) -> LogFile | LogStream:
    """Let everything be logged to `log_file`, else to `stream`, as the settings say.

    May be called again after a reload. Returns the handler: its `lost` counts the lines that could
    not be written. Raises OSError where the file cannot be opened.
    """
    handler = LogFile(log_file) if log_file else LogStream(stream)
    redact = redaction(settings.secrets)
    as_json = settings.log_format is LogFormat.JSON
    handler.setFormatter(JsonLines(redact) if as_json else TextLines(redact))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, LogFile | LogStream):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(settings.log_level.name)
    # urllib3 tells the webhook's path in its own lines, and nobody needs them.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    _spare_what_nobody_reads()
    _catch_the_uncaught()
    return handler


def lost_lines() -> int:
    """Return how many lines could not be written since `setup`."""
    handlers = logging.getLogger().handlers
    return sum(each.lost for each in handlers if isinstance(each, LogFile | LogStream))


def _line_count(record: logging.LogRecord) -> int:
    return len(getattr(record, EACH, (record,)))


def _fields(fields: dict[str, Any]) -> str:
    return "".join([f" {key}={_field(value)}" for key, value in fields.items()])


def _field(value: object) -> str:
    text = printable(str(value))
    return text if text and not set(text) & set(' ="') else json.dumps(text, ensure_ascii=False)


def _is_journal(stream: TextIO) -> bool:
    """Tell whether systemd connected this stream to the journal (see systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _spare_what_nobody_reads() -> None:
    """Let logging not look up caller, thread and process of every line (see its documentation)."""
    logging.raiseExceptions = False
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.__dict__["_srcfile"] = None
    if hasattr(logging, "logAsyncioTasks"):  # since Python 3.12
        logging.logAsyncioTasks = False


def _catch_the_uncaught() -> None:
    """Log what would be printed on stderr: it would not be redacted there."""
    log = logging.getLogger("tcp_trace")
    logging.captureWarnings(capture=True)

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401
        log.critical("uncaught error", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value or args.exc_type()
        log.critical("uncaught error in a thread", exc_info=error)

    sys.excepthook = uncaught
    threading.excepthook = in_thread
