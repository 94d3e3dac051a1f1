"""`tcp-trace incidents` as its users see it, over the state that a real outbox holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace import cli
from tcp_trace.core.silences import Silence, Silences, parse_match
from tcp_trace.delivery.outbox import Outbox
from tests.unit.core.incident_world import DATABASE, PSQL, World, destination

if TYPE_CHECKING:
    from pathlib import Path

_LEAVE_A_WAL = """
import os, sys
from pathlib import Path
from tcp_trace.delivery.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.commit([], {"version": 1, "mono": 0, "wall": 0, "serial": 1, "incidents": [],
                   "storm": None, "ended": []})
os._exit(9)
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state directory for the command to use."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setattr(cli, "ENV_FILE", tmp_path / "none")
    return tmp_path


def now_world() -> World:
    """Return a world whose wall clock is this machine's."""
    world = World()
    world.wall_offset = time.time() - world.mono
    return world


def save(world: World, state: Path) -> Outbox:
    """Let a service save this world."""
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], world.incidents.dump(world.now))
    return outbox


def test_before_the_service_ever_ran(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any state there is no incident, and no file is made."""
    assert cli.main(["incidents"]) == 0
    assert capsys.readouterr().out.startswith("no incident: the service has saved nothing in")
    assert cli.main(["incidents", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "saved_at": None, "incidents": []}
    assert list(state.iterdir()) == []


def test_with_none_open(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that has nothing to tell is told of in one line."""
    save(now_world(), state).close()
    assert cli.main(["incidents"]) == 0
    out = capsys.readouterr().out
    assert out == "0 open (0 critical), 0 silenced, 0 ended lately; saved under 1 s ago\n"


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
    outbox = save(world, state)
    if not running:
        outbox.close()
    assert cli.main(["incidents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    outbox.close()
    assert lines[0].startswith("1 open (1 critical), 1 silenced, 1 ended lately; saved ")
    opened, silenced, recovered = lines[3:]
    assert opened.split()[:3] == ["open", "critical", "10.0.0.5:5432"]
    for words in ("1,202", "refused", "psql 1,201, \\x1b[31m<!here> 1", "ago, of 2"):
        assert words in opened
    assert silenced.split()[:3] == ["silenced", "critical", "10.0.0.2:443"]
    assert recovered.split()[:3] == ["recovered", "warning", "10.0.0.1:443"]


def test_json_has_it_all(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get every field of every incident."""
    world = now_world()
    world.fail(times=5)
    save(world, state).close()
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
    """A storm is listed once, with the number of its destinations; JSON names the worst."""
    world = now_world()
    for number in range(500):
        world.fail(destination(number), times=1 + (number == 7))
    world.wait(5)
    save(world, state).close()
    cli.main(["incidents"])
    assert "500 destinations" in capsys.readouterr().out
    cli.main(["incidents", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)["incidents"]
    assert entry["destination"] is None
    assert entry["top"][0] == [str(destination(7)), 2]
    assert len(entry["top"]) == 10


def test_ten_thousand(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of very many the worst are shown, with the number of the rest; --all shows all."""
    world = World(max_incidents=20_000)
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match("all"), wall, wall + 1e9)])
    for number in range(10_000):
        world.fail(destination(number), times=1 + (number == 5000))
    save(world, state).close()
    started = time.process_time()
    cli.main(["incidents"])
    assert time.process_time() - started < 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "and 9,950 more: --all"
    assert len(lines) == 54
    assert str(destination(5000)) in lines[3]
    cli.main(["incidents", "--all"])
    assert len(capsys.readouterr().out.splitlines()) == 10_003


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
def test_root_takes_nothing_from_the_service(state: Path) -> None:
    """When root lists, every file stays the service's: the next start finds them usable."""
    save(now_world(), state).close()
    for path in (state, *state.iterdir()):
        os.chown(path, 65534, 65534)
    assert cli.main(["incidents"]) == 0
    assert {path.stat().st_uid for path in state.iterdir()} == {65534}


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
