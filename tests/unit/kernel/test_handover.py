"""Whom stage 2 may run as."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tcp_trace.kernel import handover

ROOT = Path(__file__).parents[3]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root chooses")


@needs_root
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nobody", "is what others run as, too"),
        ("root", "is root, who keeps every privilege: set SERVICE_USER"),
        ("absent-user", "does not exist: 'make install' makes it, and so does 'useradd --system"),
    ],
)
def test_a_user_that_is_others_too_is_refused(name: str, why: str) -> None:
    """In one sentence with what makes a better one; nothing is loaded before."""
    done = subprocess.run(
        [sys.executable, "-m", "tcp_trace", "run", "--env-file", "/dev/null"],
        cwd=ROOT,
        env={**os.environ, "SERVICE_USER": name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"tcp-trace: SERVICE_USER={name} {why}")
    assert done.returncode == 1


@needs_root
def test_a_user_of_its_own_is_taken_with_its_groups() -> None:
    """The groups are those that the host gives the user."""
    entry = pwd.getpwnam("daemon")
    account = handover.service_account("daemon")
    assert account[:3] == ("daemon", entry.pw_uid, entry.pw_gid)
    assert set(account.groups) == set(os.getgrouplist("daemon", entry.pw_gid))


def test_a_user_without_a_name_is_called_by_its_number() -> None:
    """Where /etc/passwd does not have the user that systemd chose."""
    assert handover.name_of(4_000_000_000) == "4000000000"
