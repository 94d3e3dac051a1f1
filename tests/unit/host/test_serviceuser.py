"""Whom stage 2 may run as."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcp_trace.host import serviceuser

ROOT = Path(__file__).parents[3]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root chooses")


@needs_root
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nobody", "must be a user of the service's own: create one with 'useradd"),
        ("root", "must be a user of the service's own: create one with 'useradd"),
        ("absent-user", "does not exist: create it with 'make install' or 'useradd --system"),
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
        timeout=30,
    )
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"tcp-trace: SERVICE_USER={name} {why}")
    assert done.returncode == 1


def test_a_user_without_a_name_is_called_by_its_number() -> None:
    """Where /etc/passwd does not have the user that systemd chose."""
    assert serviceuser.name_of(4_000_000_000) == "4000000000"
