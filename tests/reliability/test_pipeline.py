"""Faults against the whole pipeline, from a record of the kernel to what people see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.incidents.policy import Policy
from tests.unit.incidents.incident_world import BOOT_WALL, World
from tests.webhook import Webhook

if TYPE_CHECKING:
    from tests.figures import Figures

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DAY = 86_400.0


@pytest.mark.parametrize(
    ("after", "most_messages", "told_apart"),
    [("1", 20, Policy().max_incidents), ("auto", 0, Policy().max_incidents // 2)],
)
def test_100000_destinations_in_bounded_memory(
    tmp_path: Path, figure: Figures, after: str, most_messages: int, told_apart: int
) -> None:
    """Beyond 10,000 destinations memory stands still, and every failure is still counted."""
    with Webhook() as webhook:
        command = [sys.executable, "-B", str(HERE / "many_destinations.py"), str(tmp_path)]
        done = subprocess.run(
            [*command, webhook.url, after],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
            timeout=300,
        )
        assert (done.returncode, done.stderr) == (0, "")
        cost = json.loads(done.stdout)
        messages = len(webhook.received)
    assert cost["counted"] == 100_001
    assert cost["told_apart"] == told_apart
    assert messages <= most_messages
    growth = cost["at_all"] - cost["before"]
    assert growth < 64
    assert cost["at_all"] - cost["at_20000"] < 24
    lines = (tmp_path / "log").read_bytes().count(b'"connect failed"')
    assert lines == 100_001
    figure(
        f"100,000 distinct destinations fail within seconds, with `ALERT_AFTER={after}`",
        f"64 MB; destinations beyond {told_apart:,} are counted, not told apart;"
        f" {most_messages} messages",
        f"{growth:.0f} MB more resident ({cost['before']:.0f} MB before), {cost['cpu']:.1f} s of"
        f" CPU, {messages} messages, {lines:,} log lines, {cost['disk'] / 1e6:.1f} MB of state",
    )


def test_a_clock_that_jumps(figure: Figures) -> None:
    """A day ahead or back in mid-incident: what is told, and when it is over, is as ever."""
    told = []
    for jump in (DAY, -DAY):
        world = World()
        world.fail(times=5)
        world.wait(10)
        world.wall_offset = BOOT_WALL + jump
        world.fail(times=5)
        world.wait(10)
        world.succeed()
        world.wait(world.policy.resolve_after + world.policy.recheck)
        kinds = [notification.kind.value for notification in world.told]
        assert kinds == ["opened", "updated", "resolved"]
        assert world.told_at[world.told[1].id] - world.told_at[world.told[0].id] == 10
        assert world.told[-1].duration == 10
        assert world.told_failures == 10
        assert world.incidents.next_deadline() is None
        told.append(len(world.told))
    figure(
        "the wall clock jumps by a day, either way, in mid-incident",
        "wrong times of day in messages; no message more or less, durations stay right",
        f"{told[0]} and {told[1]} messages of 3, all 10 failures told, duration to the second",
    )
