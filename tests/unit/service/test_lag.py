"""How far the service is behind is said once, and that it caught up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tcp_trace.service.lag import BEHIND_SECONDS, Lag

if TYPE_CHECKING:
    import pytest


def test_being_behind_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the seconds and what waits; and once all is read, with the most that it was."""
    lag = Lag()
    with caplog.at_level(logging.INFO):
        for age, backlog in ((0.1, 0), (4.9, 9000), (6.0, 8000), (9.0, 300), (6.0, 200), (2.0, 7)):
            lag.note(int((1000 - age) * 1e9), 1000.0, backlog)
        assert [(r.levelname, vars(r)["behind"], vars(r)["backlog"]) for r in caplog.records] == [
            ("WARNING", 6.0, 8000)
        ]
        lag.note(int(999.9e9), 1000.0, 0)
        lag.note(int(999.9e9), 1000.0, 0)
    assert caplog.messages[1:] == ["the service has caught up"]
    assert vars(caplog.records[-1])["behind"] == 9.0
    assert BEHIND_SECONDS == 5.0
