"""The service under a locale of each kind, and where nothing that it could use is there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox, scratch
from tcp_trace.settings import environment
from tests import locales

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with locales."""
    made = tmp_path_factory.mktemp("locales")
    locales.make(made)
    return made


@pytest.mark.parametrize("kind", locales.KINDS)
def test_it_starts_under_every_locale(
    kind: str, hook: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the compiler would take I for a dotless i, and knows no flag of its own."""
    for name in [name for name in os.environ if name.startswith(("LC_", "LANG"))]:
        monkeypatch.delenv(name)
    for name, value in locales.variables(kind, directory).items():
        monkeypatch.setenv(name, value)
    with sandbox.service(HOOK=hook, HOST_NAME="ü漢") as service:
        assert service.find("watching")
    assert service.find("stopped")


@pytest.mark.parametrize("closed", ["", "<&- >&-"])
def test_it_starts_in_a_hostile_environment(closed: str, hook: str) -> None:
    """Variables of compiler, Python and systemd that are nonsense change nothing; nor do no files.

    That systemd is not told is logged, once.
    """
    with scratch.directory() as directory:
        state = directory / "state"
        state.mkdir()
        scratch.give(state, 0o700)
        ours = {"SERVICE_USER": scratch.account().pw_name, "STATE_DIR": str(state), "HOOK": hook}
        command = [sys.executable, "-I", str(scratch.program()), "run", "--env-file", "/dev/null"]
        with subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command],
            env={**locales.HOSTILE, **{os.fsencode(n): os.fsencode(v) for n, v in ours.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        ) as process:
            assert process.stderr is not None
            told = []
            for line in process.stderr:
                told.append(json.loads(line))
                if told[-1]["message"] == "watching":
                    process.terminate()
        assert process.returncode == 0
    assert told[-1]["message"] == "stopped"
    assert len([line for line in told if line.get("socket") == "/nowhere/notify"]) == 1


_BARE = """
for place in /etc /sys/fs/cgroup /run/systemd /run/dbus; do
    [ ! -d $place ] || mount -t tmpfs none $place
done
kept=-all,+bpf,+perfmon,+sys_admin
exec setpriv --reuid=$1 --regid=$2 --clear-groups --inh-caps=$kept --ambient-caps=$kept "${@:3}"
"""


def test_it_runs_where_nothing_optional_is(hook: str) -> None:
    """Started as systemd does, by a user without a name, and no cgroups, D-Bus, hosts or users."""
    user = scratch.account()
    with scratch.directory() as directory, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it does not listen
        state = directory / "state"
        state.mkdir()
        scratch.give(state, 0o700)
        port = closed.getsockname()[1]
        command = ["unshare", "-m", "/bin/bash", "-ec", _BARE, "bash"]
        command += [str(user.pw_uid), str(user.pw_gid), sys.executable, "-I"]
        with subprocess.Popen(
            [*command, str(scratch.program()), "run", "--env-file", "/dev/null"],
            env={
                "PATH": environment.PATH,
                "STATE_DIR": str(state),
                "HOOK": hook,
                "DEST_IP": f"127.0.0.1:{port}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        ) as process:
            told = [_until(process, "watching")]
            with socket.socket() as client:
                client.connect_ex(("127.0.0.1", port))
            told.append(_until(process, "connect failed"))
            process.terminate()
            told.append(_until(process, "stopped"))
        assert process.returncode == 0
    assert told[1]["uid"] == 0
    assert (told[1]["user"], told[1]["reason"]) == (None, "refused")


def _until(process: subprocess.Popen[bytes], message: str) -> dict[str, Any]:
    """Read lines until one has this message; it ends with the process."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"{"):
            parsed: dict[str, Any] = json.loads(line)
            if parsed["message"] == message:
                return parsed
    raise AssertionError(f"no line {message!r}")
