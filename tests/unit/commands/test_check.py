"""`tcp-trace check`: each thing that can be amiss is found, with its fix."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import check
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.settings import config
from tests.sockets import connected_as
from tests.state import state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE, SERVICE_GROUP = "games", "games"
URL = "http://127.0.0.1:1"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
ME = pwd.getpwuid(os.getuid()).pw_name


def test_configuration(tmp_path: Path) -> None:
    """Errors are failures, warnings are warnings, and neither shows the webhook."""
    path = tmp_path / "env"
    path.touch(0o644)
    path.write_text("SLACK_URL=https://hooks.slack.com/services/sesame\n")
    settings, (finding,) = check._configuration({}, path)
    assert settings is not None
    assert finding.level is Level.WARN
    assert "every user can read it" in finding.detail
    settings, found = check._configuration({"EVENTS": "x", "HOOK": "y"}, path)
    assert settings is None
    assert [item.level for item in found] == [Level.FAIL, Level.FAIL]
    assert "sesame" not in str(found)


def test_user() -> None:
    """A service user that the start refuses fails, with what to do."""
    assert check._user("daemon").level is Level.OK
    for name in ("tcp-trace-nobody", "nobody", "root"):
        found = check._user(name)
        assert found.level is Level.FAIL
        assert found.detail.startswith(f"SERVICE_USER={name} ")
        assert "SERVICE_USER" in found.fix or "useradd" in found.fix


@pytest.fixture
def state() -> Iterator[Path]:
    """Return a state directory of the service's user, the way to which everybody may go."""
    with state_directory() as path:
        shutil.chown(path, SERVICE)
        yield path


def tried(state: Path, env_file: Path | None = None, **environ: str) -> list[Finding]:
    """Return what is found as the service's user."""
    given = {"STATE_DIR": str(state), "SERVICE_USER": SERVICE, **environ}
    return list(check._as_service(config.load(given, env_file), given, env_file))


def named(found: list[Finding], name: str) -> Finding:
    """Return the only finding of this name."""
    (finding,) = (one for one in found if one.name == name)
    return finding


@as_root
def test_state_directory(state: Path) -> None:
    """The service's user must be able to write there; systemd makes what does not exist."""
    assert named(tried(state), "state") == Finding("state", Level.OK, str(state))
    for mode, user, level in (
        (0o700, "root", Level.FAIL),
        (0o770, "root", Level.FAIL),
        (0o777, "root", Level.OK),
        (0o500, SERVICE, Level.FAIL),
    ):
        shutil.chown(state, user)
        state.chmod(mode)
        assert named(tried(state), "state").level is level
    state.rmdir()
    assert named(tried(state), "state").level is Level.WARN
    state.touch()
    assert named(tried(state), "state").level is Level.FAIL


@as_root
def test_every_file_of_the_state_is_read(state: Path) -> None:
    """Silences and outbox, as the service does: what it cannot use is told of."""
    silences = state / "silences.json"
    silences.write_text('{"silences": [{"id": "abc"}]}')
    silences.chmod(0o644)
    found = named(tried(state), "silences")
    assert (found.level, found.detail[:10]) == (Level.WARN, "abc is not")
    silences.write_text("[")
    assert named(tried(state), "silences").level is Level.FAIL
    silences.chmod(0o600)
    assert "Permission denied" in named(tried(state), "silences").detail
    silences.unlink()
    (state / "outbox.db").write_text("no database")
    (state / "outbox.db").chmod(0o644)
    assert named(tried(state), "state") == Finding(
        "state",
        Level.FAIL,
        f"{SERVICE} cannot write to {state}/outbox.db",
        f"chown -R {SERVICE} {state}",
    )
    shutil.chown(state / "outbox.db", SERVICE)
    assert "not a database" in named(tried(state), "state").detail


@as_root
@pytest.mark.parametrize("where", ["env", "routes", "url", "url_file"])
def test_a_file_that_only_root_can_read(state: Path, where: str) -> None:
    """Every file of the configuration is read as the service reads it, at a reload for example."""
    paths = {name: state.parent / name for name in ("env", "routes", "url", "url_file")}
    for path in paths.values():
        path.touch(0o640)
        shutil.chown(path, group=SERVICE_GROUP)
    paths["url"].write_text(f"{URL}/a")
    paths["url_file"].write_text(f"{URL}/b")
    paths["routes"].write_text(
        f'[webhook.x]\nurl_file = "{paths["url_file"]}"\n[[route]]\nto = "x"\n'
    )
    paths["env"].write_text(f"SLACK_URL_FILE={paths['url']}\nROUTES_FILE={paths['routes']}\n")
    assert not [one for one in tried(state, paths["env"]) if one.name == "configuration"]
    shutil.chown(paths[where], group="root")
    found = named(tried(state, paths["env"]), "configuration")
    assert found.level is Level.FAIL
    assert f"{paths[where]}: cannot be read (Permission denied)" in found.detail
    assert found.detail.startswith(f"for the user {SERVICE}: ")
    assert "chgrp" in found.fix


@as_root
def test_what_systemd_reads_is_not_asked_of_the_user(state: Path) -> None:
    """A credential is root's, and reaches the service all the same."""
    (state.parent / "hook").touch(0o400)
    (state.parent / "hook").write_text(f"{URL}/a")
    routes = state.parent / "routes"
    routes.write_text('[webhook.x]\ncredential = "hook"\n[[route]]\nto = "x"\n')
    found = tried(state, CREDENTIALS_DIRECTORY=str(state.parent), ROUTES_FILE=str(routes))
    assert not [one for one in found if one.name == "configuration"]


@as_root
def test_without_the_user_nothing_is_tried(state: Path) -> None:
    """Root asks nobody in his place."""
    (found,) = tried(state, SERVICE_USER="tcp-trace-none", SLACK_URL=URL)
    assert (found.name, found.level) == ("service", Level.WARN)
    assert "are not checked" in found.detail


@as_root
def test_the_service_user_asks_the_network(state: Path) -> None:
    """Whose socket it is that reaches the webhook's host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        asking = threading.Thread(target=run_check, args=(state, url))
        asking.start()
        connection, peer = server.accept()
        uid = connected_as(server.getsockname()[1], peer[1])
        connection.close()
        asking.join()
    assert uid == pwd.getpwnam(SERVICE).pw_uid


def run_check(state: Path, url: str) -> None:
    """Run it in a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "tcp_trace", "check", "--env-file", "/dev/null"],
        cwd=Path(__file__).parents[3],
        env={"STATE_DIR": str(state), "SERVICE_USER": SERVICE, "SLACK_URL": url},
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


def as_an_ordinary_user(state: Path, *args: str, **environ: str) -> list[Finding]:
    """Return what `check` finds for somebody who is neither root nor the service's user."""
    done = subprocess.run(
        [sys.executable, "-m", "tcp_trace", "check", "--json", *args],
        cwd=Path(__file__).parents[3],
        env={"STATE_DIR": str(state), "SERVICE_USER": SERVICE, **environ},
        capture_output=True,
        user="daemon",
        group="daemon",
        extra_groups=[],
        check=False,
        timeout=60,
    )
    found = json.loads(done.stdout)["checks"]
    return [Finding(one["name"], Level(one["level"]), one["detail"], one["fix"]) for one in found]


@as_root
def test_an_ordinary_user_is_told_what_he_cannot_know(state: Path) -> None:
    """What takes root to know is said to be unknown: neither well nor amiss."""
    path = state.parent / "env"
    path.touch(0o600)
    found = as_an_ordinary_user(state)
    for name in ("returns", "state"):
        assert named(found, name).level is Level.WARN
        assert named(found, name).detail.startswith("unknown without root: ")
        assert named(found, name).fix == "sudo tcp-trace check"
    assert "lets no program" not in str(found)
    told = named(as_an_ordinary_user(state, "--env-file", str(path)), "configuration")
    assert told.level is Level.WARN
    assert told.detail == (
        f"unknown without root: {path}: cannot be read (Permission denied); see --env-file"
    )
