"""What stands: the last that was told of each open incident."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tcp_trace.notify.standing import MOST, Standing
from tests.unit.notify.golden import OPENED, QUIET, RESOLVED, STORM_OPENED, UPDATED


def test_the_last_word_stands_until_the_end() -> None:
    """An update takes the place of what it updates; resolved and quiet leave nothing."""
    for last in (RESOLVED, QUIET):
        standing = Standing()
        standing.note(OPENED)
        standing.note(UPDATED)
        assert standing.all() == [UPDATED]
        standing.note(last)
        assert standing.all() == []


def test_a_storm_stands_for_what_it_takes_over() -> None:
    """Its incidents end with it."""
    standing = Standing()
    standing.note(replace(OPENED, incident=STORM_OPENED.absorbed[2]))
    standing.note(OPENED)
    standing.note(STORM_OPENED)
    assert standing.all() == [OPENED, STORM_OPENED]


def test_it_survives_a_restart_as_far_as_it_is_still_open() -> None:
    """What the saved incidents do not have any more does not stand."""
    standing = Standing()
    standing.note(OPENED)
    standing.note(STORM_OPENED)
    saved = json.loads(json.dumps(standing.dump()))
    again = Standing()
    again.load(saved, {STORM_OPENED.incident})
    assert again.all() == [STORM_OPENED]
    with pytest.raises(ValueError, match="notification"):
        again.load([{"version": 1}], {"x"})


def test_it_is_bounded() -> None:
    """A thousand incidents that stand are enough; the outbox tells of all others."""
    standing = Standing()
    for number in range(MOST + 5):
        standing.note(replace(OPENED, incident=str(number)))
    assert len(standing.all()) == MOST
