"""The page of what faults cost: written by tests that pass, and by nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = """
def test_something(figure):
    figure("a fault", "little", f"{2 + 2} messages")
    assert PASSES
"""


@pytest.mark.parametrize("passes", [True, False])
def test_only_a_run_that_passes_writes_the_page(tmp_path: Path, *, passes: bool) -> None:
    """It tells the figures with the command, the date and the versions that made them."""
    page, test = tmp_path / "page.md", tmp_path / "test_it.py"
    test.write_text(TEST.replace("PASSES", str(passes)))
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
    ]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TCP_TRACE_KILLS": "7"}
    done = subprocess.run(
        [*command, str(test), "--reliability", str(page)],
        cwd=tmp_path,
        env={name: value for name, value in environ.items() if name != "CI"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    assert page.exists() == passes
    if passes:
        text = page.read_text()
        assert "| a fault | little | 4 messages |\n" in text
        assert f"`TCP_TRACE_KILLS=7 {Path(sys.executable).name} -m pytest " in text
        assert f"Linux {os.uname().release}" in text
        assert "SQLite" in text
