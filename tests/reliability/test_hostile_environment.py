"""Every command under a locale of each kind, and in an environment that means no good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import locales

MAIN = Path(__file__).parents[2] / "tcp_trace/__main__.py"
WORDS = "kahve ıİ ü 漢字 👍"
COMMANDS = (
    ("--version",),
    ("--help",),
    ("run", "--help"),
    ("silence", "add", "--for", "2h", "--comment", WORDS, "192.0.2.1"),
    ("silence", "list"),
    ("silence", "list", "--json"),
    ("silence", "remove", WORDS),
    ("incidents", "--all"),
    ("incidents", "--json"),
    ("check",),
    ("check", "--json"),
    ("test-alert",),
    ("run", "--env-file", "/nowhere/ü漢"),
    (WORDS,),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with locales."""
    made = tmp_path_factory.mktemp("locales")
    locales.make(made)
    return made


def run(
    arguments: tuple[str, ...], environ: dict[bytes, bytes], *, closed: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in exactly this environment, with some standard streams closed."""
    words = [os.fsencode(word) for word in (sys.executable, "-I", str(MAIN), *arguments)]
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
        cwd="/",
    )


def crashed(done: subprocess.CompletedProcess[bytes]) -> bool:
    """Tell whether a command says that it has a bug, or Python says so."""
    return b"Traceback" in done.stderr or b"this is a bug" in done.stderr


def encoded(environ: dict[str, str]) -> dict[bytes, bytes]:
    """Return an environment as execve takes it."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], int]:
    """Return how each command ends where nothing is odd."""
    state = {b"STATE_DIR": os.fsencode(tmp_path_factory.mktemp("state"))}
    return {command: run(command, state).returncode for command in COMMANDS}


@pytest.mark.parametrize("kind", locales.KINDS)
def test_every_command_under_every_locale(kind: str, directory: Path, tmp_path: Path) -> None:
    """None fails for a character: what the terminal cannot show is escaped; names are UTF-8."""
    state = tmp_path / "ü漢"
    state.mkdir(0o700)
    environ = encoded({**locales.variables(kind, directory), "STATE_DIR": str(state)})
    for command in COMMANDS:
        done = run(command, environ)
        assert not crashed(done), (command, done.stderr.decode(errors="replace"))
        assert done.returncode in {0, 1, 2, 78}, command
        if command == ("silence", "list"):
            codec = "latin-1" if kind == "latin-1" else "utf-8"
            shown = WORDS.encode(codec, "backslashreplace")
            assert shown in done.stdout
    assert (state / "silences.json").exists() or list(state.iterdir())


def test_every_command_in_a_hostile_environment(
    codes: dict[tuple[str, ...], int], tmp_path: Path
) -> None:
    """Variables of Python, of the compiler and of systemd that are nonsense change nothing."""
    state = {b"STATE_DIR": os.fsencode(tmp_path)}
    for command in COMMANDS:
        hostile = run(command, {**locales.HOSTILE, **state})
        assert not crashed(hostile), (command, hostile.stderr)
        assert hostile.returncode == codes[command], command


@pytest.mark.parametrize("columns", ["0", "1", "-7", "x", "9" * 5000])
def test_help_of_any_width(columns: str) -> None:
    """A terminal that claims an odd width gets its help."""
    done = run(("run", "--help"), encoded({"COLUMNS": columns}))
    assert done.returncode == 0
    assert b"SERVICE_USER" in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_every_command_with_closed_streams(
    closed: str, codes: dict[tuple[str, ...], int], tmp_path: Path
) -> None:
    """It ends as ever, and writes to no file that happens to have the number of a stream."""
    state = {b"STATE_DIR": os.fsencode(tmp_path)}
    for command in COMMANDS:
        done = run(command, state, closed=closed)
        assert done.returncode == codes[command], (command, done.stderr)
        assert not crashed(done), (command, done.stderr)
