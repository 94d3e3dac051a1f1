"""`tcp-trace incidents` as its users see it, over the state that a real outbox holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import cli, loading
from tcp_trace.connects.events import Destination
from tcp_trace.notify.outbox import Outbox
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAVE_A_WAL = """
import os, sys
from pathlib import Path
from tcp_trace.notify.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.commit([], {"version": 1, "mono": 0, "wall": 0, "serial": 1, "incidents": [],
                   "storm": None, "ended": []})
os._exit(9)
"""


_HOLD = """
import json, sys
from pathlib import Path
from tcp_trace.notify.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.commit([], json.loads(Path(sys.argv[2]).read_text()))
print("saved", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state directory for the command to use."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setattr(loading, "ENV_FILE", tmp_path / "none")
    return tmp_path


def now_world(**policy: float | None) -> World:
    """Return a world whose wall clock is this machine's."""
    world = World(**policy)
    world.wall_offset = time.time() - world.mono
    return world


def save(world: World, state: Path) -> None:
    """Let a service save this world, and end."""
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], world.incidents.dump(world.now))
    outbox.close()


@contextmanager
def saved_by_a_running_service(world: World, state: Path) -> Iterator[None]:
    """Save it by a process that goes on holding its outbox."""
    (state / "dump").write_text(json.dumps(world.incidents.dump(world.now)))
    command = [sys.executable, "-c", _HOLD, str(state / "outbox.db"), str(state / "dump")]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


def test_before_the_service_ever_ran(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any state there is no incident, and no file is made."""
    assert cli.main(["incidents"]) == 0
    assert capsys.readouterr().out.startswith("no incident: the service has saved nothing in")
    assert cli.main(["incidents", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "saved_at": None, "incidents": []}
    assert list(state.iterdir()) == []


def test_with_none_open(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that has nothing to tell is told of in one line."""
    save(now_world(), state)
    assert cli.main(["incidents"]) == 0
    out = capsys.readouterr().out
    assert out == "0 open (0 critical), 0 silenced, 0 ended lately; saved under 1 s ago\n"


def test_another_network_namespace(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A destination in one is listed with its number, which is a field of its own in JSON."""
    world = now_world()
    world.fail()
    world.fail(DATABASE._replace(netns=4_026_532_281, netns_mix=7))
    save(world, state)
    assert cli.main(["incidents"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(f"{DATABASE}") == 2
    assert shown.count(f"{DATABASE} (netns 4026532281)") == 1
    assert cli.main(["incidents", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["incidents"]
    assert [(e["destination"], e["netns"]) for e in entries] == [
        (str(DATABASE), 0),
        (str(DATABASE), 4_026_532_281),
    ]


@pytest.mark.parametrize("running", [True, False])
def test_open_silenced_and_ended(
    state: Path, capsys: pytest.CaptureFixture[str], *, running: bool
) -> None:
    """Open, silenced and ended ones are listed, while the service runs and when it does not."""
    world = now_world()
    world.fail(destination(1), times=2)
    world.mono += 1
    world.succeed(destination(1))
    world.wait(200)
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match(":443"), wall, wall + 1e6)])
    world.fail(destination(2), times=9)
    world.fail(process=PSQL._replace(comm="\x1b[31m<!here>"))
    world.fail(times=1200)
    world.wait(301)
    world.fail()
    if not running:
        save(world, state)
    with saved_by_a_running_service(world, state) if running else nullcontext():
        assert cli.main(["incidents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 open (1 critical), 1 silenced, 1 ended lately; saved ")
    assert all(len(line) <= 80 for line in lines)
    opened, silenced, recovered = (at for at, line in enumerate(lines) if " 10.0.0." in line)
    assert lines[opened].split()[:3] == ["open", "critical", "1,202"]
    assert lines[opened].endswith("10.0.0.5:5432")
    told = " ".join(lines[opened:silenced])
    for words in ("why  refused", "psql 1,201, \\x1b[31m<!here> 1", "2 messages, the last "):
        assert words in told
    assert lines[silenced].split()[:3] == ["silenced", "warning", "9"]
    assert lines[recovered].split()[:3] == ["recovered", "warning", "2"]


def test_json_has_it_all(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get every field of every incident."""
    world = now_world()
    world.fail(times=5)
    save(world, state)
    cli.main(["incidents", "--json"])
    shown = json.loads(capsys.readouterr().out)
    (entry,) = shown["incidents"]
    assert shown["saved_at"] == pytest.approx(world.now.wall)
    assert (entry["destination"], entry["failures"]) == (str(DATABASE), 5)
    assert entry["reasons"] == [["refused", 5]]
    assert entry["processes"] == [["psql", 5]]
    assert entry["incident"] == world.told[0].incident
    assert (entry["messages"], entry["ended"]) == (1, None)


def test_a_storm_is_one_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A storm is listed once, with its destinations, the worst first; JSON names them all."""
    world = now_world(after=None)
    for number in range(500):
        world.succeed(destination(number))
        world.mono += 0.001
        world.fail(destination(number), times=1 + (number == 7))
    world.wait(15)
    save(world, state)
    cli.main(["incidents"])
    out = " ".join(capsys.readouterr().out.split())
    assert "500 destinations" in out
    assert f"to {destination(7)} 2, " in out
    assert out.count(":443") == 10
    assert "and 490 more" in out
    cli.main(["incidents", "--all"])
    assert capsys.readouterr().out.count(":443") == 500
    cli.main(["incidents", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)["incidents"]
    assert entry["top"][0] == [str(destination(7)), 2]
    assert len(entry["top"]) == 500


def test_ten_thousand(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of very many the worst are shown, with the number of the rest; --all shows all."""
    world = World(max_incidents=20_000)
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match("all"), wall, wall + 1e9)])
    for number in range(10_000):
        world.fail(destination(number), times=1 + (number == 5000))
    save(world, state)
    started = time.process_time()
    cli.main(["incidents"])
    assert time.process_time() - started < 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "and 9,950 more: --all"
    assert sum(line.startswith("silenced") for line in lines) == 50
    assert lines[3].endswith(f" {destination(5000)}")
    cli.main(["incidents", "--all"])
    assert capsys.readouterr().out.count("\nsilenced ") == 10_000


def test_after_kill_9(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed service left beside its database is read, and left as it is."""
    path = state / "outbox.db"
    subprocess.run([sys.executable, "-c", _LEAVE_A_WAL, str(path)], check=False)
    before = {each.name: each.stat().st_size for each in state.iterdir()}
    assert before["outbox.db-wal"]
    assert cli.main(["incidents"]) == 0
    assert capsys.readouterr().out.startswith("0 open")
    assert before.items() <= {e.name: e.stat().st_size for e in state.iterdir()}.items()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_root_takes_nothing_from_the_service() -> None:
    """When root lists, every file stays the service's: the next start finds them usable."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        state = Path(name)
        patch.setenv("STATE_DIR", name)
        save(now_world(), state)
        for path in (state, *state.iterdir()):
            os.chown(path, 65534, 65534)
        before = sorted(state.iterdir())
        assert cli.main(["incidents"]) == 0
        assert {path.stat().st_uid for path in state.iterdir()} == {65534}
        assert sorted(state.iterdir()) == before


def test_one_program_is_listed_once(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that runs as two users, or in two units, is one name with the sum."""
    world = now_world()
    world.fail(times=3)
    world.fail(times=2, process=PSQL._replace(uid=5))
    world.fail(times=4, process=PSQL._replace(comm="curl"))
    save(world, state)
    cli.main(["incidents", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)["incidents"]
    assert entry["processes"] == [["psql", 5], ["curl", 4]]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_it_fits_the_terminal(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """No line is wider than the terminal, however much there is to say."""
    world = now_world()
    for number in range(12):
        world.fail(process=PSQL._replace(comm=f"program-{number:06d}"))
    save(world, state)
    monkeypatch.setenv("COLUMNS", str(columns))
    cli.main(["incidents"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[1:])) <= max(columns, 78)


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_file_that_is_no_outbox(
    state: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read is one sentence and exit code 1."""
    (state / "outbox.db").write_bytes(content)
    assert cli.main(["incidents"]) == 1
    assert str(state / "outbox.db") in capsys.readouterr().err


def test_a_state_that_cannot_be_read(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state of another version is one sentence and exit code 1."""
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], {"version": 99})
    outbox.close()
    assert cli.main(["incidents"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_name_is_listed_with_its_addresses(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The latest first; JSON has it as a destination, too, as all had one before."""
    world = now_world()
    for address in ("10.0.0.5", "2001:db8::5"):
        world.fail(Destination(address, 5432), host="db.example.com")
    save(world, state)
    assert cli.main(["incidents"]) == 0
    out = capsys.readouterr().out
    assert "db.example.com:5432\n" in out
    assert "    at   2001:db8::5, 10.0.0.5\n" in out
    assert cli.main(["incidents", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["incidents"]
    assert entry["subject"] == "db.example.com:5432"
    assert (entry["destination"], entry["destinations"]) == ("[2001:db8::5]:5432", 1)
    assert entry["addresses"] == ["10.0.0.5", "2001:db8::5"]
    assert entry["subjects"] == {"host": 1}
