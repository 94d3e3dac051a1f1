"""Sinks that stand: whoever logs goes on at once, what is lost is counted, and the end comes."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.log import logs, sinks
from tcp_trace.log.logfile import LogFile
from tcp_trace.settings import config
from tests.captured import Captured
from tests.unit.log.test_logs import messages, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("tcp_trace.test")
SMALL = 20_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few lines wait, and nobody wait for them for long."""
    monkeypatch.setattr(sinks, "LIMIT", SMALL)
    monkeypatch.setattr(logs, "FLUSH_SECONDS", 0.1)


def say_much() -> float:
    """Log far more than waits; return the seconds that the slowest line took."""
    slowest = 0.0
    for number in range(1000):
        began = time.perf_counter()
        log.info("line", extra={"number": number, "filler": "x" * 100})
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for a minute at most."""
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


class _Pipe:
    """A pipe that nobody reads."""

    def __init__(self) -> None:
        self._reader, self.fd = os.pipe()

    def drain(self, handler: logs.LogHandler) -> str:
        """Read until nothing waits any more."""
        os.set_blocking(self._reader, False)
        found, waits = b"", True
        while True:
            waits = waits and not handler.sink.flush(0.01)
            try:
                found += os.read(self._reader, 1 << 20)
            except BlockingIOError:
                if not waits:
                    return found.decode()


class _Terminal(_Pipe):
    """A terminal at which somebody pressed Control-S."""

    def __init__(self) -> None:
        self._reader, self.fd = pty.openpty()
        attributes = termios.tcgetattr(self.fd)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        termios.tcflow(self.fd, termios.TCOOFF)

    def drain(self, handler: logs.LogHandler) -> str:
        termios.tcflow(self.fd, termios.TCOON)
        return super().drain(handler)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("make", [_Pipe, _Terminal])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_stream_that_nobody_reads_holds_up_nobody(make: type[_Pipe], *, blocking: bool) -> None:
    """Lines wait, then are lost and counted; once somebody reads, a line says how many."""
    stands = make()
    os.set_blocking(stands.fd, blocking)
    with open(stands.fd, "w", encoding="utf-8") as stream:  # noqa: PTH123
        handler = logs.setup(config.load({}, None), None, stream)
        assert say_much() < 5
        lost = handler.lost
        assert 0 < lost < 1000
        lines = [json.loads(line) for line in stands.drain(handler).splitlines()]
        kept = [line["number"] for line in lines if line["message"] == "line"]
        assert len(kept) == 1000 - lost
        assert kept == sorted(kept)
        told = [line["lost"] for line in lines if line["message"] == "log lines were lost"]
        assert sum(told) == lost
        logs.flush()


@pytest.mark.usefixtures("small")
def test_a_report_of_lost_lines_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where others fill the queue again while it is made."""
    stands = _Pipe()
    report = sinks.log.error

    def crowded(message: str, **fields: Any) -> None:  # noqa: ANN401 - as logging has it
        monkeypatch.undo()
        monkeypatch.setattr(sinks, "LIMIT", SMALL)
        other = threading.Thread(target=say_much)
        other.start()
        other.join()
        report(message, **fields)

    with open(stands.fd, "w", encoding="utf-8") as stream:  # noqa: PTH123
        handler = logs.setup(config.load({}, None), None, stream)
        say_much()
        monkeypatch.setattr(sinks.log, "error", crowded)
        text = stands.drain(handler)
        log.info("line")
        text += stands.drain(handler)
        told = [json.loads(line) for line in text.splitlines() if '"log lines were lost"' in line]
        assert sum(line["lost"] for line in told) == handler.lost == told[-1]["lost_total"]
        assert len(told) >= 2


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let a write to any file stand until the event is set, as on a disk that does not answer."""
    goes_on = threading.Event()
    write = os.write

    def stand(fd: int, data: bytes) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
            goes_on.wait()
        return write(fd, data)

    monkeypatch.setattr(os, "write", stand)
    yield goes_on
    goes_on.set()


@pytest.mark.usefixtures("small")
def test_a_disk_that_stands_holds_up_nobody(tmp_path: Path, stuck: threading.Event) -> None:
    """Nor the stream, on which a complaint is read meanwhile; what could wait is written after."""
    stderr = Captured()
    handler = logs.setup(config.load({}, None), tmp_path / "log", stderr)
    assert say_much() < 5
    assert 0 < handler.lost < 1000
    wait_for(lambda: stderr.getvalue().count("\n") == 1)
    told = json.loads(stderr.getvalue())
    assert told["message"] == "the log is blocked: its queue is full, and new lines are lost"
    assert told["path"] == str(tmp_path / "log")
    stuck.set()
    wait_for(lambda: "log lines were lost" in written(tmp_path / "log"))
    assert messages(tmp_path / "log").count("line") == 1000 - handler.lost


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    """Lines that were logged just before the process ends are in the file."""
    program = """
import logging, sys
from pathlib import Path
from tcp_trace.log import logs
from tcp_trace.settings import config
logs.setup(config.load({}, None), Path(sys.argv[1]), sys.stderr)
for number in range(1000):
    logging.getLogger().info("line")
raise RuntimeError("the end")
"""
    with run(program, str(tmp_path / "log")) as process:
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 1
    assert messages(tmp_path / "log") == [*["line"] * 1000, "uncaught error"]


def test_the_end_does_not_wait_for_a_sink_that_stands() -> None:
    """A process whose stderr nobody reads ends within `FLUSH_SECONDS` and a little."""
    program = """
import logging, sys
from tcp_trace.log import logs
from tcp_trace.settings import config
logs.setup(config.load({}, None), None, sys.stderr)
for number in range(2000):
    logging.getLogger().info("line")
"""
    began = time.monotonic()
    with run(program) as process:
        assert process.wait(60) == 0
        assert process.stderr is not None
        process.stderr.read()
    assert time.monotonic() - began < logs.FLUSH_SECONDS + 30


def run(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start Python with a program; nobody reads its stderr."""
    command = [sys.executable, "-B", "-c", program, *arguments]
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE)


def test_no_thread_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no thread can be had lines wait; with the first that can they are written."""
    logs.setup(config.load({}, None), tmp_path / "log", Captured())

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        log.info("one")
    log.info("two")
    assert messages(tmp_path / "log") == ["one", "two"]


def test_what_is_to_come_after_lines_comes_after_they_are_written() -> None:
    """By the sink's thread, in the order that was asked for, and not while a write stands."""
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    full = b"x" * 2_000_000  # more than a pipe holds
    seen: list[int] = []
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123
        sink = sinks.Sink(sinks.Stream(stream))
        sink.put(b"one\n")
        sink.after(lambda: seen.append(1))
        sink.put(full)
        sink.after(lambda: seen.append(2))
        wait_for(lambda: seen == [1])
        assert not sink.flush(0.2)
        assert seen == [1]
        read = 0
        while read < len(full) + 4:
            read += len(os.read(reader, 1 << 20))
        assert sink.flush(5)
        assert seen == [1, 2]
        sink.after(lambda: seen.append(3))
        wait_for(lambda: seen == [1, 2, 3])
        sink.close()
    os.close(reader)


def test_the_end_of_lines_in_a_file_is_known_before_they_are_written(tmp_path: Path) -> None:
    """With it the next process knows whether they were: the file is as large, or it is not."""
    path = tmp_path / "log"
    path.write_text("torn")
    quiet = logging.getLogger("tests.quiet")
    sink = sinks.Sink(LogFile(path, quiet))
    seen: list[tuple[sinks.Place, str]] = []
    assert not sink.began_with(sinks.Place(path.stat().st_ino, 5))
    sink.put(b"one\n")
    sink.put(b"two\n")
    sink.after(lambda: None, lambda place: seen.append((place, path.read_text())))
    sink.after(lambda: None, lambda place: seen.append((place, "no lines")))
    assert sink.flush(5)
    assert path.read_text() == "torn\none\ntwo\n"
    assert seen == [(sinks.Place(path.stat().st_ino, path.stat().st_size), "torn")]
    sink.close()
    again = LogFile(path, quiet)
    ((place, _),) = seen
    assert again.began_with(place)
    assert not again.began_with(place._replace(end=place.end + 1))
    assert not again.began_with(place._replace(inode=place.inode + 1))
    again.close()


def test_lines_that_are_held_are_written_together_and_noted_before(tmp_path: Path) -> None:
    """However long the thread that logs takes, no line is written before it is noted."""
    path = tmp_path / "log"
    sink = sinks.Sink(LogFile(path, logging.getLogger("tests.quiet")))
    seen: list[tuple[int, str]] = []
    sink.hold()
    sink.put(b"one\n")
    time.sleep(0.2)
    sink.put(b"two\n")
    assert path.read_text() == ""
    sink.after(lambda: None, lambda place: seen.append((place.end, path.read_text())))
    sink.put(b"three\n")
    assert sink.flush(5)
    assert seen == [(8, "")]
    sink.hold()
    sink.put(b"four\n")
    assert sink.flush(5)
    assert path.read_text() == "one\ntwo\nthree\nfour\n"
    sink.close()
