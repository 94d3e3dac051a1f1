"""Targets of make side by side: what each said is shown whole, and one that fails is not hidden."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MAKEFILE = r"""
quick:
	@echo quick said this
slow:
	@printf '%s\n' 'half [ 50%]'; echo $$$$ > slow.pid; sleep 60; echo never
fails:
	@sleep 0.5; echo fails said why; exit 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with targets of make."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


@pytest.fixture
def slow(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a quick target and one that takes a minute."""
    with beside(folder, "quick", "slow") as process:
        until = time.monotonic() + 10
        while not (folder / "slow.pid").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        yield process
        process.kill()


def beside(folder: Path, *targets: str) -> subprocess.Popen[str]:
    """Start them."""
    return subprocess.Popen(
        [sys.executable, "-B", "-m", "tests.beside", *targets],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_each_said_is_shown_and_all_passed(folder: Path) -> None:
    """The status is 0."""
    with beside(folder, "quick") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "== quick: passed" in output
    assert "quick said this" in output


def test_one_that_fails_fails_the_whole_and_stops_no_other(folder: Path) -> None:
    """What it said is there."""
    with beside(folder, "fails", "quick") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "== fails: FAILED (2)" in output
    assert "fails said why" in output
    assert "== quick: passed" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_shows_what_they_had_said(
    slow: subprocess.Popen[str], folder: Path, number: signal.Signals
) -> None:
    """Nothing goes on behind it."""
    slow.send_signal(number)
    output, _ = slow.communicate(timeout=60)
    assert slow.returncode == 130
    assert "== slow: ended before it was done" in output
    assert "half [ 50%]" in output
    assert not Path(f"/proc/{(folder / 'slow.pid').read_text().strip()}").exists()
