"""Every loss has a counter that is exported, and a line in the log."""

from __future__ import annotations

import ast
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import tcp_trace
from tcp_trace.notify.statistics import Statistics
from tcp_trace.probes.connectmaps import Tallies
from tcp_trace.service.losses import LOSSES, QUIET_SECONDS, Loss, Losses
from tests.unit.service.test_metrics import FIGURES, scrape

NONE = {loss.name: 0 for loss in LOSSES}
# What the kernel program counts that is no loss, and why.
NO_LOSS = {
    "submitted": "reached the service",
    "netted": "the net saw it",
    "taken_up": "the net saw it",
    "opened": "for the coverage",
    "unsent": "for the coverage",
    "aborted": "for the coverage",
    "passive": "for the coverage",
    "names_learned": "a name that is kept",
    "names_long": "part of names_unkept",
    "held": "is told as a sum",
}


def test_the_kernels_counts_are_losses_or_none() -> None:
    """A new tally has to be put into one of the two lists."""
    losses = {loss.name for loss in LOSSES}
    assert losses & set(Tallies._fields) | set(NO_LOSS) == set(Tallies._fields)
    assert not losses & set(NO_LOSS)


@pytest.mark.parametrize("loss", LOSSES, ids=[loss.name for loss in LOSSES])
def test_each_loss_is_logged(loss: Loss, caplog: pytest.LogCaptureFixture) -> None:
    """How many are new, and how many there are in all."""
    losses = Losses()
    with caplog.at_level(logging.INFO):
        losses.check(NONE, 0.0)
        losses.check(NONE | {loss.name: 3}, 15.0)
        losses.check(NONE | {loss.name: 3}, QUIET_SECONDS + 15)
        losses.check(NONE | {loss.name: 7}, QUIET_SECONDS + 30)
    found = [
        (r.getMessage(), r.levelno, r.__dict__["lost"], r.__dict__["lost_total"])
        for r in caplog.records
    ]
    assert found == [
        (loss.sentence, loss.level, 3, 3),
        (loss.sentence, loss.level, 4, 7),
    ]


@pytest.mark.parametrize("loss", LOSSES, ids=[loss.name for loss in LOSSES])
def test_one_that_goes_on_has_a_line_an_hour(loss: Loss, caplog: pytest.LogCaptureFixture) -> None:
    """Unless failures are lost, which is an error each time."""
    losses = Losses()
    with caplog.at_level(logging.INFO):
        for look in range(241):
            losses.check(NONE | {loss.name: look + 1}, look * 15.0)
    assert len(caplog.records) == (241 if loss.level == logging.ERROR else 2)


@pytest.mark.parametrize("loss", LOSSES, ids=[loss.name for loss in LOSSES])
def test_each_loss_is_exported(loss: Loss) -> None:
    """Under its own name."""
    assert (
        scrape(FIGURES._replace(losses=NONE | {loss.name: 5}))[f"tcp_trace_{loss.metric}_total"]
        == 5
    )


@pytest.mark.parametrize("field", [each.name for each in fields(Statistics) if each.type == "int"])
def test_what_is_counted_of_a_webhook_is_exported(field: str) -> None:
    """Each number by itself."""
    before = scrape(FIGURES._replace(webhooks={"a": Statistics()}, pending={"a": 0}))
    counted: dict[str, Any] = {field: 5}
    webhooks = {"a": Statistics(**counted)}
    after = scrape(FIGURES._replace(webhooks=webhooks, pending={"a": 0}))
    assert sum(after.values()) - sum(before.values()) == 5


def test_what_is_counted_is_read() -> None:
    """An attribute that is added to in some place is read in another."""
    counted: dict[str, str] = {}
    read: set[str] = set()
    for path in Path(tcp_trace.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
                counted[node.target.attr] = f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    assert len(counted) > 20
    assert {name: where for name, where in counted.items() if name not in read} == {}
