"""Nothing is missed and nothing told twice while the service is killed, restarted and replaced.

Connects fail at 200 a second throughout, and each has to be in the log once, with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest

from tcp_trace.commands import scratch
from tests.kernel.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.figures import Figures

# Few a port, also where a restart takes a minute: of lines that say the same only the first hundred
# are written.
ADDRESS, PORTS = "127.0.67.1", range(30_000, 30_600)
PAUSE = 1 / 200


class Load:
    """Connects that are refused, until it is stopped."""

    def __init__(self) -> None:
        self.made: Counter[tuple[int, int]] = Counter()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        until = time.monotonic()
        for number in range(10**6):
            port = PORTS[number % len(PORTS)]
            with socket.socket() as client:
                client.bind((ADDRESS, 0))
                local = client.getsockname()[1]
                assert client.connect_ex((ADDRESS, port))
                self.made[local, port] += 1
            until += PAUSE
            if self._ends.wait(max(0.0, until - time.monotonic())):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


@pytest.fixture
def supervised(hook: str) -> Iterator[Supervisor]:
    """Return the service, at work, where somebody keeps its descriptors."""
    with scratch.directory() as directory:
        supervisor = Supervisor(directory, HOOK=hook, DEST_IP=ADDRESS)
        try:
            supervisor.cold = supervisor.start()
            yield supervisor
        finally:
            supervisor.close()


def told(supervisor: Supervisor) -> Counter[tuple[int, int]]:
    """Return what the log has of failures, each with this process."""
    lines = supervisor.find("connect failed", daddr=ADDRESS)
    assert {(line["pid"], line["times"]) for line in lines} <= {(os.getpid(), 1)}
    assert not supervisor.find("failures held back")
    return Counter((line["lport"], line["dport"]) for line in lines)


def kill(supervisor: Supervisor) -> None:
    """Kill it, and start it a moment later, as systemd does."""
    supervisor.kill()
    time.sleep(0.5)
    supervisor.start()


def restart(supervisor: Supervisor) -> None:
    """Let it end by itself, and start it again."""
    supervisor.kill(signal.SIGTERM)
    supervisor.start()


def hang(supervisor: Supervisor) -> None:
    """Let it hang until somebody has seen that, and kills it."""
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    kill(supervisor)


def crash(supervisor: Supervisor) -> None:
    """Kill it three times: while it starts, as soon as it has begun to read, and later."""
    supervisor.kill()
    supervisor.launch()
    time.sleep(0.3)
    kill(supervisor)
    kill(supervisor)


def upgrade(supervisor: Supervisor) -> None:
    """Let another program take over, which has other constants."""
    supervisor.kill(signal.SIGTERM)
    supervisor.configure(RING_MB="16")
    supervisor.start()
    why = [line.get("compiled_anew") for line in supervisor.find("watching")]
    assert why[-1] == "RING_BYTES changed"


@pytest.mark.parametrize("mishap", [kill, restart, hang, crash, upgrade])
def test_each_failure_is_told_once(
    supervised: Supervisor, mishap: Callable[[Supervisor], None], figure: Figures
) -> None:
    """Neither missed nor told twice, whatever becomes of the process meanwhile."""
    with Load() as load:
        time.sleep(0.5)
        mishap(supervised)
        time.sleep(1)
    time.sleep(0.5)
    supervised.kill(signal.SIGTERM)
    made, found = load.made, told(supervised)
    assert made.total() > 200
    assert (made - found, found - made) == (Counter(), Counter())
    if mishap is not upgrade:
        assert supervised.find("watching")[-1]["taken_over"] == "yes"
    figure(
        f"{mishap.__name__} of the service, with failures at 200 a second throughout",
        "nothing; a kill in the microseconds behind a write: its lines, twice",
        f"{made.total():,} failures: 0 missed, 0 told twice, each with its process",
    )


def test_a_burst_while_nobody_reads_is_told_by_the_next(supervised: Supervisor) -> None:
    """20,000 failures while there is no process: one by one within the budget, the rest counted."""
    supervised.kill()
    times = 20_000
    for number in range(times):
        with socket.socket() as client:
            assert client.connect_ex((ADDRESS, PORTS[number % len(PORTS)]))
    supervised.start()
    until = time.monotonic() + 300
    while time.monotonic() < until and counted(supervised) < times:
        time.sleep(0.2)
    supervised.kill(signal.SIGTERM)
    (stopped,) = supervised.find("stopped")
    assert counted(supervised) == times
    assert stopped["lost"] == stopped["held_full"] == 0


def counted(supervisor: Supervisor) -> int:
    """Return how many failures the log tells of."""
    messages = ("connect failed", "failures held back", "more failures held back")
    return sum(line["times"] for each in messages for line in supervisor.find(each))


def test_a_start_with_what_is_kept_compiles_nothing(supervised: Supervisor) -> None:
    """It is ready in a part of the time, and no compiler was in the process."""
    supervised.kill()
    warm = supervised.start()
    sys.stdout.write(f"cold {supervised.cold:.2f} s, kept {warm:.2f} s\n")
    (watching,) = [line for line in supervised.find("watching") if "taken_over" in line]
    assert watching["hook"] == supervised.find("watching")[0]["hook"]
    assert "compiled_anew" not in watching


def another_map(kept: dict[str, list[int]]) -> None:
    """Put one map in the place of another."""
    names = {name.partition(".")[2]: name for name in kept}
    first, second = names["map.connect.held"], names["map.connect.races"]
    kept[first], kept[second] = kept[second], kept[first]


def a_link_twice(kept: dict[str, list[int]]) -> None:
    """Put one program in the place of another: what that one sees would be missed."""
    links = [name for name in kept if ".link." in name]
    os.close(kept[links[0]][0])
    kept[links[0]] = [os.dup(kept[links[1]][0])]


def a_link_is_gone(kept: dict[str, list[int]]) -> None:
    """Leave one out."""
    (name, *_) = [name for name in kept if ".link." in name]
    os.close(kept.pop(name)[0])


def a_file_for_a_map(kept: dict[str, list[int]]) -> None:
    """Put in a file."""
    (name,) = [name for name in kept if name.endswith(".map.connect.held")]
    os.close(kept[name][0])
    kept[name] = [os.open("/dev/null", os.O_RDONLY)]


def two_of_a_name(kept: dict[str, list[int]]) -> None:
    """Add one."""
    (name,) = [name for name in kept if name.endswith(".gate")]
    kept[name].append(os.dup(kept[name][0]))


def another_story(kept: dict[str, list[int]]) -> None:
    """Say that the program was made of something else."""
    (name,) = [name for name in kept if name.endswith(".file")]
    text = os.pread(kept[name][0], 65_536, 0).replace(b'"HELD_MAX": 4096', b'"HELD_MAX": 4095')
    os.close(kept[name][0])
    kept[name] = [sealed(text)]


def a_file_that_changes(kept: dict[str, list[int]]) -> None:
    """Give one that is not sealed."""
    (name,) = [name for name in kept if name.endswith(".file")]
    text = os.pread(kept[name][0], 65_536, 0)
    os.close(kept[name][0])
    kept[name] = [os.memfd_create("tcp-trace-kept")]
    os.write(kept[name][0], text)


def no_json(kept: dict[str, list[int]]) -> None:
    """Give one of another form."""
    (name,) = [name for name in kept if name.endswith(".file")]
    os.close(kept[name][0])
    kept[name] = [sealed(b'{"made_of": [1, 2], "attached": {"x": []}}')]


def strangers(kept: dict[str, list[int]]) -> None:
    """Give what nobody knows."""
    kept["stored"] = [os.open("/dev/null", os.O_RDONLY)]
    kept["x.y.z"] = [os.open("/dev/null", os.O_RDONLY)]


def sealed(text: bytes) -> int:
    """Return a sealed file."""
    fd = os.memfd_create("tcp-trace-kept", os.MFD_ALLOW_SEALING)
    os.write(fd, text)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def test_what_is_forged_is_not_taken(supervised: Supervisor) -> None:
    """Descriptors that are not what they seem are let go of; the service starts without them."""
    forgers = (
        *(another_map, a_link_twice, a_link_is_gone, a_file_for_a_map, two_of_a_name),
        *(another_story, a_file_that_changes, no_json),
    )
    for forge in forgers:
        supervised.kill()
        names = set(supervised.kept)
        forge(supervised.kept)
        supervised.start()
        watching = supervised.find("watching")[-1]
        why = watching.get("compiled_anew", "")
        assert why.startswith("kept descriptors are not trusted: "), (forge.__name__, watching)
        assert not names & set(supervised.kept)
    supervised.kill()
    strangers(supervised.kept)
    supervised.start()
    assert supervised.find("watching")[-1]["taken_over"] == "yes"
    assert "stored" not in supervised.kept


def test_without_anybody_who_keeps_it_each_start_is_the_first(hook: str) -> None:
    """Descriptors that were meant for another process are not touched."""
    with (
        scratch.directory() as directory,
        contextlib.closing(Supervisor(directory, HOOK=hook, DEST_IP=ADDRESS)) as supervisor,
    ):
        supervisor.start()
        supervisor.kill()
        for fds in supervisor.kept.values():
            for fd in fds:
                os.close(fd)
        supervisor.kept = {}
        supervisor.start()
        watching = supervisor.find("watching")[-1]
        assert not {"taken_over", "compiled_anew"} & watching.keys()
