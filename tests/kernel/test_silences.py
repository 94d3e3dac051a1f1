"""Silences and the list of incidents, with the running service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcp_trace.commands import loopback, sandbox
from tcp_trace.commands.sandbox import CLIENT, call_in
from tests.kernel.connects import attempt, many

if TYPE_CHECKING:
    from tcp_trace.commands.sandbox import Network, Service

# Of the services only CLIENT is watched: failures of others could make one message of all.
SILENCED, HEARD, TOLD = 10_901, 10_902, 10_903


def tcp_trace(service: Service, *args: str) -> str:
    """Run a command, as root, beside the running service; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tcp_trace", *args, "--env-file", str(service._env_file)],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def fail(network: Network, port: int, times: int) -> None:
    """Make connects that are refused."""
    call_in(network.client, lambda: many(times, lambda: attempt(CLIENT, port)))


def about(messages: list[dict[str, Any]], port: int) -> list[str]:
    """Return the texts of the messages about a port."""
    return [m["text"] for m in messages if f"{CLIENT}:{port}" in m["text"]]


def test_silence_and_list_beside_the_running_service(hook: str, network: Network) -> None:
    """A silence holds at once and without a restart, is counted, and ends as it was told to."""
    with (
        loopback.webhook() as (url, messages),
        sandbox.service(
            HOOK=hook, DEST_IP=CLIENT, SLACK_URL=url, ALERT_AFTER="3", ALERT_MENTION="@here"
        ) as service,
    ):
        added = tcp_trace(service, "silence", "add", "--for", "1h", f"{CLIENT}:{SILENCED}")
        fail(network, SILENCED, 23)
        fail(network, HEARD, 3)
        service.wait_for(lambda: about(messages, HEARD))
        (heard,) = about(messages, HEARD)
        assert heard.startswith("<!here>\n")
        service.wait_for(lambda: len(service.find("connect failed", dport=SILENCED)) == 23)
        assert about(messages, SILENCED) == []

        fail(network, HEARD, 1)
        time.sleep(0.5)
        name = added.partition(":")[0]
        tcp_trace(service, "silence", "remove", name)
        fail(network, SILENCED, 3)
        service.wait_for(lambda: about(messages, SILENCED))
        (opened,) = about(messages, SILENCED)
        assert "Failures: 26" in opened
        assert "While silenced: 23 failures" in opened

        shown = json.loads(tcp_trace(service, "incidents", "--json"))["incidents"]
        by_destination = {entry["destination"]: entry for entry in shown}
        entry = by_destination[f"{CLIENT}:{SILENCED}"]
        assert (entry["status"], entry["failures"], entry["silenced"]) == ("open", 26, 23)
        assert service.stop() == 0
        assert f"{CLIENT}:{HEARD}" in tcp_trace(service, "incidents")


def test_a_maintenance_window_holds_after_a_reload(hook: str, network: Network) -> None:
    """A window set by a reload silences; one that is taken away lets the incident be told."""
    with (
        loopback.webhook() as (url, messages),
        sandbox.service(HOOK=hook, DEST_IP=CLIENT, SLACK_URL=url) as service,
    ):
        service.reconfigure(MAINTENANCE="daily 00:00-24:00 reason=refused")
        fail(network, TOLD, 7)
        service.wait_for(lambda: len(service.find("connect failed", dport=TOLD)) == 7)
        service.reconfigure(MAINTENANCE="")
        assert messages == []
        fail(network, TOLD, 1)
        service.wait_for(lambda: about(messages, TOLD))
        (opened,) = about(messages, TOLD)
        assert "Failures: 8" in opened
        assert "While silenced: 7 failures" in opened
