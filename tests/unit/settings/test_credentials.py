"""What the unit gets as credentials, root's commands have, too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import check, cli, loading
from tcp_trace.settings import config, credentials, environment

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root reads them")


def test_drop_ins_add_and_reset() -> None:
    """As systemd reads them: later ones win, and an empty one forgets all before it."""
    text = """
# /usr/local/lib/systemd/system/tcp-trace.service
[Service]
#LoadCredential=slack_url:/no
LoadCredential=gone:/etc/gone
LoadCredential=
LoadCredential = slack_url:/etc/tcp-trace/slack_url
LoadCredential=other:relative
LoadCredential=../x:/etc/passwd
LoadCredentialEncrypted=secret:/etc/secret
# /etc/systemd/system/tcp-trace.service.d/override.conf
[Service]
LoadCredential=database:/etc/tcp-trace/database
"""
    assert {name: str(path) for name, path in credentials.parse(text).items()} == {
        "slack_url": "/etc/tcp-trace/slack_url",
        "database": "/etc/tcp-trace/database",
    }


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the unit have two credentials, of which one is there; return that one's file."""
    path = tmp_path / "hook"
    path.touch(0o600)
    path.write_text(URL)
    text = f"LoadCredential=slack_url:{path}\nLoadCredential=absent:{tmp_path}/absent\n"
    monkeypatch.setattr(credentials, "_unit", lambda: text)
    return path


@as_root
def test_root_reads_the_files_as_systemd_would(unit: Path) -> None:
    """And leaves no copy behind; what the environment has already is not replaced."""
    with credentials.of_the_unit({"A": "b"}) as given:
        assert given["A"] == "b"
        settings = config.load(given, None)
        assert os.stat(given["CREDENTIALS_DIRECTORY"]).st_mode & 0o777 == 0o700  # noqa: PTH116
        assert os.listdir(given["CREDENTIALS_DIRECTORY"]) == ["slack_url"]  # noqa: PTH208
    assert settings.slack_url is not None
    assert settings.slack_url.reveal() == URL
    assert not os.path.exists(given["CREDENTIALS_DIRECTORY"])  # noqa: PTH110
    own = {"CREDENTIALS_DIRECTORY": str(unit.parent)}
    with credentials.of_the_unit(own) as given:
        assert given == own


@as_root
@pytest.mark.usefixtures("unit")
def test_every_command_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route to a credential is no error for who lists incidents, checks, or sends a test."""
    routes = tmp_path / "routes"
    routes.write_text('[webhook.x]\ncredential = "slack_url"\n[[route]]\nto = "x"\n')
    monkeypatch.setenv("ROUTES_FILE", str(routes))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(loading, "ENV_FILE", tmp_path / "none")
    assert cli.main(["incidents"]) == 0
    assert cli.main(["silence", "list"]) == 0
    found = check.run(os.environ, None)
    assert [one.detail for one in found if one.name == "configuration"] == ["the environment"]


@as_root
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_root_waits_for_no_credential(unit: Path, kind: str) -> None:
    """What is no regular file is missing: a FIFO would hold root up, and a device never end."""
    unit.unlink()
    if kind == "fifo":
        os.mkfifo(unit)
    else:
        unit.symlink_to("/dev/zero")
    with credentials.of_the_unit({}) as given:
        assert os.listdir(given["CREDENTIALS_DIRECTORY"]) == []  # noqa: PTH208


def test_without_systemd_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing systemctl nor one that fails is an error."""
    monkeypatch.setattr(credentials, "_RUNS_SYSTEMD", tmp_path)
    for path in (str(tmp_path), environment.PATH):
        monkeypatch.setattr(credentials, "PATH", path)
        with credentials.of_the_unit({}) as given:
            assert given == {}
