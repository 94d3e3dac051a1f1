"""A disk that is full under the log, with the state on another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.webhook import Webhook

if TYPE_CHECKING:
    from tests.figures import Figures

FULL_LOG = Path(__file__).parent / "full_log.py"


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
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    cost = json.loads(done.stdout)
    assert cost["told"] == 2
    assert cost["degraded"] is None
    assert cost["failures"] == 220
    assert 0 < cost["lost"] <= 200 + 20
    assert cost["lost_after"] == 0
    whole = 0
    for line in cost["log"].splitlines():
        try:
            json.loads(line)
        except ValueError:
            continue
        whole += 1
    torn = len(cost["log"].splitlines()) - whole
    assert torn <= 1
    assert whole == cost["emitted"] - cost["lost"]
    last = json.loads(cost["log"].splitlines()[-1])
    assert last["message"] == "connect failed"
    figure(
        "the log's disk is full, the state's is not",
        "the lines that do not fit, each counted; no message, no restart, one torn line",
        f"{cost['lost']} lines lost and counted, {torn} torn; all {cost['failures']} failures"
        f" counted, {cost['told']} of 2 messages sent; lines are written again once there is room",
    )
