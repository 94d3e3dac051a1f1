"""For all tests: a skipped one is a failure in continuous integration; figures become a page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.figures import FIGURES, Figures, command_of, figure

__all__ = ["figure"]

# The same examples every time, so that a change is judged by what it changed; who works on it has
# others in every run. Newer versions of hypothesis do this by themselves.
# No deadline: how long an example takes says more of the machine than of the code.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("here", _UNTIMED)
settings.register_profile("ci", _UNTIMED, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run write down what faults cost."""
    parser.addoption(
        "--reliability", type=Path, help="write what faults cost to this file, if all tests pass"
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped: a test that never runs proves nothing. `-ra` tells which and why.

    Write the page of figures, if nothing failed.
    """
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    page: Path | None = session.config.getoption("--reliability")
    if page is not None and session.exitstatus == pytest.ExitCode.OK:
        figures = session.config.stash.get(FIGURES, Figures())
        page.write_text(figures.page(command_of(session.config)), encoding="utf-8")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("\nCI is set: skipped tests are failures", red=True)
