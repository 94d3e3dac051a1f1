"""Whatever a file holds that a command reads: no terminal obeys it, and no command hangs or grows.

The files in STATE_DIR are the service user's, who may have been taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.notify.outbox import Outbox
from tcp_trace.safetext import printable
from tests.state import state_directory
from tests.unit.incidents.incident_world import PSQL, World, destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
HOSTILE = "\x1b[31m\x1b]0;x\x07\r\x9b5m\u202egnp\u2066\x85\u2028\x7f\x08"
SERVICE = 5  # games: a user that every Debian has and nobody is
FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LOOKS = [
    ("incidents",), ("incidents", "--json"), ("incidents", "--all"),
    ("silence", "list"), ("silence", "list", "--json", "--all"),
    ("silence", "add", "--for", "1h", "10.0.0.1"), ("silence", "remove", HOSTILE),
    ("check",), ("check", "--json"),
]  # fmt: skip


@pytest.fixture
def state() -> Iterator[Path]:
    """Return a state directory of the service's user."""
    with state_directory() as path:
        yield path


def give_away(state: Path) -> None:
    """Let the service's user own all of it."""
    if os.geteuid() == 0:
        for path in (state, *state.iterdir()):
            os.lchown(path, SERVICE, SERVICE)


def run(state: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command over this directory, as the one who calls."""
    given = {"PATH": os.environ["PATH"], "STATE_DIR": str(state), "SERVICE_USER": "games"}
    done = subprocess.run(
        [sys.executable, "-m", "tcp_trace", *args],
        cwd=ROOT,
        env={**given, **environ},
        capture_output=True,
        check=False,
        timeout=60,
    )
    out, err = (stream.decode() for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def assert_harmless(done: subprocess.CompletedProcess[str]) -> None:
    """Nothing but printable lines came out, and no bug."""
    assert not FORBIDDEN.search(done.stdout)
    assert not FORBIDDEN.search(done.stderr)
    assert "Traceback" not in done.stderr


def hostile_state(state: Path) -> None:
    """Let every name in a state be hostile."""
    world = World()
    for _ in range(4):
        world.fail(process=PSQL._replace(comm=HOSTILE), host=HOSTILE)
    for number in range(9):
        world.fail(destination(number)._replace(address=HOSTILE))
    world.wait(9)
    saved = world.incidents.dump(world.now)
    for each in saved["incidents"]:
        each["incident"] = HOSTILE
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], {**saved, "silenced_by": {HOSTILE: 3}})
    outbox.close()


def hostile_schema(state: Path) -> None:
    """Let SQLite's own error quote what is hostile."""
    with sqlite3.connect(state / "outbox.db") as db:
        db.execute(f'CREATE TABLE state (name TEXT, "body{HOSTILE}" TEXT)')
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = ?", (f"CREATE {HOSTILE}",))
    db.close()


def hostile_version(state: Path) -> None:
    """Let the error of the state itself quote what is hostile."""
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], {"version": HOSTILE, "silenced_by": HOSTILE})
    outbox.close()


def hostile_silences(state: Path) -> None:
    """Let good silences, bad ones and their ids be hostile."""
    good = {"id": HOSTILE, "match": "all", "begins": 0, "ends": 9e9, "comment": HOSTILE}
    bad = [{**good, "match": HOSTILE}, {**good, "ends": HOSTILE}, HOSTILE, {HOSTILE: HOSTILE}]
    (state / "silences.json").write_text(json.dumps({"silences": [good, *bad]}))


@pytest.mark.parametrize("command", LOOKS, ids=lambda command: "-".join(command[:2]))
@pytest.mark.parametrize("lay", [hostile_state, hostile_schema, hostile_version, hostile_silences])
def test_no_terminal_obeys_a_state_directory(
    state: Path, lay: Callable[[Path], None], command: tuple[str, ...]
) -> None:
    """Tables, JSON and errors of every command are printable, whatever the files hold."""
    lay(state)
    give_away(state)
    done = run(state, *command)
    assert_harmless(done)
    if "--json" in command and done.stdout:
        json.loads(done.stdout)


@pytest.mark.parametrize(
    "command", [*LOOKS, ("run",), ("test-alert",)], ids=lambda command: "-".join(command[:2])
)
def test_no_terminal_obeys_a_configuration(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Errors about the env file, the routes, a webhook's file, the environment quote it escaped."""
    env, routes, url = (tmp_path / name for name in ("env", "routes.toml", "url"))
    routes.write_text(
        f'[webhook.{json.dumps(printable(HOSTILE))}]\nurl_file = "{url}"\n'
        f"[[route]]\nto = {json.dumps(HOSTILE).replace(chr(127), '')}\nunits = 3\n"
    )
    url.write_text(HOSTILE)
    env.write_text(
        f"EVENTS={HOSTILE}\nNO{HOSTILE}=1\nSLACK_URL_FILE={url}\nROUTES_FILE={routes}\n"
        f"DEST_IP={HOSTILE}\nHOST_NAME={HOSTILE}\n{HOSTILE}\n"
    )
    done = run(tmp_path, *command, "--env-file", str(env), MAINTENANCE=HOSTILE, LOG_LEVEL=HOSTILE)
    assert_harmless(done)
    assert done.returncode in {1, 78}
    name = f"--env-file={tmp_path}/{HOSTILE}"
    assert_harmless(run(tmp_path, *command, name))


def test_no_terminal_obeys_the_command_line(tmp_path: Path) -> None:
    """Usage errors escape what they quote."""
    for command in LOOKS:
        assert_harmless(run(tmp_path, *command, f"--{HOSTILE}"))
        assert_harmless(run(tmp_path, command[0], HOSTILE))
    assert_harmless(run(tmp_path, HOSTILE))


def fifo(path: Path) -> None:
    """Make what hangs who opens it."""
    os.mkfifo(path)


def link(path: Path) -> None:
    """Point to a database of root's."""
    secret = path.parent.parent / "secret.db"
    Outbox(secret).close()
    secret.chmod(0o600)
    path.symlink_to(secret)


def directory(path: Path) -> None:
    """Make what is no file at all."""
    path.mkdir()


def huge(path: Path) -> None:
    """Make a file with nothing in it, larger than memory."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def nested(path: Path) -> None:
    """Write JSON that recurses."""
    path.write_text("[" * 200_000)


@pytest.mark.parametrize("name", ["outbox.db", "silences.json"])
@pytest.mark.parametrize("lay", [fifo, link, directory, huge, nested])
def test_no_look_hangs_grows_or_goes_astray(
    state: Path, name: str, lay: Callable[[Path], None]
) -> None:
    """Whatever stands where a file should: one sentence, soon, and nothing is written."""
    lay(state / name)
    give_away(state)
    before = sorted(state.parent.rglob("*"))
    for command in (("incidents",), ("silence", "list"), ("check",)):
        started = time.monotonic()
        done = run(state, *command)
        assert time.monotonic() - started < 45
        assert_harmless(done)
    assert sorted(state.parent.rglob("*")) == before


VIEWS = {
    "view": "CREATE VIEW state AS SELECT 'incidents' AS name, hex(zeroblob(900000000)) AS body",
    "generated": (
        "CREATE TABLE state (name TEXT, body TEXT AS (hex(zeroblob(100000000))));"
        "INSERT INTO state VALUES ('incidents')"
    ),
    "row": (
        "CREATE TABLE state (name TEXT, body);"
        "INSERT INTO state VALUES ('incidents', zeroblob(100000000))"
    ),
    "nested": (
        "CREATE TABLE state (name TEXT, body TEXT);"
        "INSERT INTO state SELECT 'incidents', replace(hex(zeroblob(200000)), '0', '[')"
    ),
    "endless": (
        "CREATE VIEW state AS WITH RECURSIVE c(body) AS (SELECT 1 UNION ALL SELECT 2 FROM c)"
        " SELECT 'x' AS name, body FROM c"
    ),
}


@pytest.mark.parametrize("sql", VIEWS.values(), ids=VIEWS)
def test_no_database_makes_a_look_grow(state: Path, sql: str) -> None:
    """A schema that computes gigabytes, or a row that is one, costs no memory and no time."""
    db = sqlite3.connect(state / "outbox.db")
    db.executescript(sql)
    db.close()
    give_away(state)
    # A child begins with the size of the process that it is forked from.
    who = resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF
    before = max(resource.getrusage(one).ru_maxrss for one in who)
    done = run(state, "incidents")
    assert done.returncode == 1
    assert_harmless(done)
    assert len(done.stderr.splitlines()) == 1
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 600_000)


def test_a_held_lock_is_waited_for_a_while(state: Path) -> None:
    """Neither a database that is locked for good nor the directory's lock hangs a command."""
    db = sqlite3.connect(state / "outbox.db")
    db.execute("CREATE TABLE state (name TEXT, body TEXT)")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("INSERT INTO state VALUES ('incidents', '{}')")
    db.commit()
    folder = os.open(state, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    give_away(state)
    for command in (("incidents",), ("silence", "add", "--for", "1h", "all")):
        started = time.monotonic()
        done = run(state, *command)
        assert time.monotonic() - started < 45
        assert done.returncode == 1
        assert "lock" in done.stderr
    os.close(folder)
    db.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="asks what root leaves behind")
def test_root_leaves_nothing_of_its_own(state: Path) -> None:
    """Of a stopped service's database no look makes a -wal or -shm; what is written is its own."""
    Outbox(state / "outbox.db").close()
    give_away(state)
    before = sorted(path.name for path in state.iterdir())
    for command in (("incidents",), ("silence", "list"), ("check",)):
        run(state, *command)
        assert sorted(path.name for path in state.iterdir()) == before
    assert run(state, "silence", "add", "--for", "1h", "all").returncode == 0
    assert {path.stat().st_uid for path in state.iterdir()} == {SERVICE}


def test_there_is_one_place_that_writes_to_people() -> None:
    """No module writes to a standard stream but that which escapes what it writes."""
    writes = re.compile(r"sys\.std(?:out|err)\.write\(|^\s*print\(", re.MULTILINE)
    sources = (ROOT / "tcp_trace").rglob("*.py")
    found = [path.name for path in sources if writes.search(path.read_text())]
    # The demo hands a script with a print() of its own to a process of its own.
    assert found == ["demo.py"]
    assert writes.findall((ROOT / "tcp_trace/commands/demo.py").read_text()) == ["print("]
