"""What the sandbox leaves open to other users while the service runs in it."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tcp_trace.commands import loopback, sandbox, scratch
from tests.unit.commands.test_scratch import as_daemon, changeable

if TYPE_CHECKING:
    import pytest


def test_only_the_state_is_the_users(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else reads the webhook, writes to the notify socket, or chooses what is executed."""
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with sandbox.service(HOOK=hook) as service:
        user = scratch.account()
        directory = service._env_file.parent
        state = directory / "state"
        assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (user.pw_uid, 0o700)
        assert changeable(directory) == changeable(service._env_file) == []
        notify = (directory / "notify").stat()
        assert (notify.st_uid, notify.st_mode & 0o777) == (user.pw_uid, 0o600)
        for target in (service._env_file, state, directory / "notify"):
            assert as_daemon("cat", target).returncode
            assert as_daemon("mv", target, f"{target}.gone").returncode
            assert as_daemon("touch", target).returncode
        assert Path(os.readlink(f"/proc/{service.pid}/cwd")) == Path("/")  # noqa: PTH115
        status = Path(f"/proc/{service.pid}/status").read_text()
        assert f"\nUid:\t{user.pw_uid}\t" in status


def test_the_demo_takes_no_module_from_where_it_is_started(tmp_path: Path) -> None:
    """Root may stand in a directory that is somebody else's."""
    for name in ("socket", "json", "subprocess"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')")
    main = Path(scratch.__file__).parents[1] / "__main__.py"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", main, "demo"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "taken over" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RECOVERED" in done.stdout


def test_the_webhook_hears_only_the_service() -> None:
    """Everybody on the host can connect to it: others are refused, and nothing of theirs is read.

    It is in root's process: what they send would fill that, or pass for the service's messages.
    """
    with loopback.webhook() as (url, messages):
        address = urlsplit(url)
        for path, size in (
            ("/", "2"),
            ("/services/sandbox", "2"),
            (f"{address.path}x", "2"),
            (address.path, str(1 << 30)),
            (address.path, "0" * 20 + "2"),
            (address.path, "-1"),
            (address.path, "many"),
        ):
            connection = http.client.HTTPConnection(address.netloc, timeout=60)
            with contextlib.closing(connection):
                connection.request("POST", path, b"{}", {"Content-Length": size})
                assert connection.getresponse().status == 404
        assert messages == []
        connection.request("POST", address.path, b"{}")
        assert connection.getresponse().status == 200
        connection.close()
    assert messages == [{}]
