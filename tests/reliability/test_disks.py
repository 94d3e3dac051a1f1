"""A disk that is full, read-only or stands, under the log or under the state."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log.logs import FLUSH_SECONDS
from tcp_trace.notify.disk import PATIENCE
from tcp_trace.notify.outbox import Outbox
from tests.unit.notify.samples import Clock, notification
from tests.unit.notify.test_outbox import on_disk, spoil
from tests.webhook import Webhook

if TYPE_CHECKING:
    from tests.figures import Figures

AFTER = 5
STANDING_DISK = Path(__file__).parent / "standing_disk.py"
FULL_LOG = Path(__file__).parent / "full_log.py"
FULL_DISK = Path(__file__).parent / "full_disk.py"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")
def test_a_full_disk_under_the_log_costs_log_lines_only(tmp_path: Path, figure: Figures) -> None:
    """Failures are counted and told as ever; the lines are lost, counted, and none is torn."""
    with Webhook() as webhook:
        done = subprocess.run(
            ["unshare", "-m", sys.executable, "-B", str(FULL_LOG), str(tmp_path), webhook.url],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(FULL_LOG.parents[2])},
            check=False,
            timeout=300,
        )
    assert done.returncode == 0
    (complaint,) = map(json.loads, done.stderr.splitlines())
    assert complaint["message"] == "cannot write the log: lines are lost until writing works"
    cost = json.loads(done.stdout)
    assert cost["told"] == 2
    assert cost["degraded"] is None
    assert cost["failures"] == 210
    assert 0 < cost["lost"] <= 200
    assert cost["lost_after"] == 0
    whole = []
    for line in cost["log"].splitlines():
        with contextlib.suppress(ValueError):
            whole.append(json.loads(line))
    torn = len(cost["log"].splitlines()) - len(whole)
    assert torn <= 1
    assert len(whole) == cost["emitted"] - cost["lost"]
    assert {line["message"] for line in whole[-AFTER:]} <= {
        *("connect failed", "log lines were lost"),
        "notification sent",
    }
    assert sum(line.get("lost", 0) for line in whole) == cost["lost"]
    figure(
        "the log's disk is full, the state's is not",
        "the lines that do not fit, each counted; no message, no restart, one torn line",
        f"{cost['lost']} lines lost and counted, {torn} torn; all {cost['failures']} failures"
        f" counted, {cost['told']} of 2 messages sent; lines are written again once there is room",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="freezing a file system takes root")
def test_a_disk_that_stands_holds_up_nobody(tmp_path: Path) -> None:
    """Log and state on a frozen file system: failures are taken in and told, and the end comes.

    Once the disk answers, nothing is missing in the log, and what is pending is on disk again.
    """
    with Webhook() as webhook:
        done = subprocess.run(
            ["unshare", "-m", sys.executable, "-B", str(STANDING_DISK), str(tmp_path), webhook.url],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(STANDING_DISK.parents[2])},
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["first_turn"] < 20  # the disk stands for as long as this takes
    assert cost["slowest_later"] < PATIENCE
    assert cost["sent_while_standing"] == 2
    assert cost["degraded"] == "the disk does not answer"
    assert cost["recovered"]
    assert cost["lost"] == 0
    failed = [json.loads(line) for line in cost["log"].splitlines() if '"connect failed"' in line]
    assert [line["daddr"] for line in failed].count("192.0.2.3") == 20
    assert cost["stop"] < 10 + PATIENCE + FLUSH_SECONDS + 10


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")
@pytest.mark.parametrize("fault", ["full", "readonly"])
def test_a_full_or_read_only_disk_costs_durability_only(
    tmp_path: Path, fault: str, figure: Figures
) -> None:
    """On a real small file system: go on from memory, say so, and write all when it is back."""
    command = ["unshare", "-m", sys.executable, str(FULL_DISK), str(tmp_path), fault]
    environment = os.environ | {"PYTHONPATH": str(FULL_DISK.parents[2])}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1] == "all as expected"
    figure(
        f"the state's disk is {'full' if fault == 'full' else 'read-only'}",
        "what was committed since, if the service ends before there is room again",
        run.stdout.splitlines()[-2],
    )


DAMAGES = {"text": "overwritten", "page": "a page damaged", "newer": "of a newer version"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_spoilt_file_is_moved_aside_and_the_service_goes_on(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, figure: Figures
) -> None:
    """What cannot be read is kept for people, and a new file takes its place."""
    path = tmp_path / "state" / "outbox.db"
    outbox = Outbox(path)
    outbox.commit(notification(f"n{number}") for number in range(200))
    outbox.close()
    spoil(path, damage)
    restarted = Outbox(path, clock=Clock())
    assert [each.name for each in path.parent.glob("*spoilt*")] == [
        "outbox.db.spoilt-20231114T221320Z"
    ]
    assert "a spoilt outbox was moved aside" in caplog.text
    kept = restarted.pending
    assert (restarted.degraded, kept) == (None, 0)
    restarted.commit([notification("a")])
    assert on_disk(path) == ["a"]
    restarted.close()
    figure(
        f"the database cannot be read at the start ({DAMAGES[damage]})",
        "what waited in it: the file is moved aside and kept, the service goes on",
        f"{kept} of 200 waiting notifications taken over, 1 of 1 put afterwards is on disk",
    )
