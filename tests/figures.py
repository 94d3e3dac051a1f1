"""What faults cost, as the tests measured it: they record it, and `--reliability` writes the page.

    pytest tests/reliability --reliability docs/RELIABILITY.md

A test that passes records what it measured, or what it would have failed without; a run with a
failure writes nothing.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

_PACKAGES = ("requests", "urllib3", "python-json-logger")
_SETTINGS = ("TCP_TRACE_KILLS", "TCP_TRACE_OUTAGE")
_EXPLANATION = """\
Written by the tests that injected these faults; `make reliability` writes it anew. A figure is
measured in that run, or is what the test fails without (such as "0 lost"). Where it says fake time
or a jump, only the clock is a stand-in. A message is what people see; failures are what it counts.
"""


class Figure(NamedTuple):
    """What one fault cost: at most, and in this run."""

    fault: str
    at_most: str
    measured: str


class Figures:
    """Takes down what the tests measure. Calling it records one fault."""

    def __init__(self) -> None:
        self._figures: list[Figure] = []

    def __call__(self, fault: str, at_most: str, measured: str) -> None:
        """Record what a fault costs at most, which the test asserted, and what it cost now."""
        self._figures.append(Figure(fault, at_most, measured))

    def page(self, command: str) -> str:
        """Return the page: how it was measured, and a row for each fault."""
        rows = [f"| {each.fault} | {each.at_most} | {each.measured} |" for each in self._figures]
        table = ["| fault | costs at most | measured |", "|---|---|---|", *rows]
        return "\n".join(
            ["# What faults cost", "", _EXPLANATION, *_circumstances(command), "", *table, ""]
        )


def _circumstances(command: str) -> list[str]:
    now = datetime.now(UTC)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"- Measured on {now:%Y-%m-%d %H:%M} UTC",
        f"- Linux {platform.release()} on {platform.machine()}, {os.cpu_count()} CPUs",
        f"- Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}",
        f"- Command: `{command}`",
    ]


def command_of(config: pytest.Config) -> str:
    """Return the command of this run, with the settings that make it longer."""
    settings = [f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ]
    python = Path(sys.executable).name
    return " ".join([*settings, python, "-m pytest", *map(str, config.invocation_params.args)])


FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figures:
    """Record what a fault costs: `figure(fault, at_most, measured)`."""
    return request.config.stash.setdefault(FIGURES, Figures())
