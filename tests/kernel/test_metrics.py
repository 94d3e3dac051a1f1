"""The metrics of the real service, with a webhook that is dead."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families as parse

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tests.kernel.connects import attempt, many
from tests.ports import free_port
from tests.webhook import SECRET, Reply, Webhook

if TYPE_CHECKING:
    from tcp_trace.commands.sandbox import Network

TIMES = 23
_DEAD = "the webhook takes no messages"
CLOSED = 10_902


def test_metrics(hook: str, network: Network) -> None:
    """Failures, a dead webhook and what waits for it can be read, the webhook's secret cannot."""
    port = free_port()
    with Webhook() as webhook:
        webhook.default = Reply(status=404, body=b"no_service")
        with sandbox.service(
            HOOK=hook,
            SLACK_URL=webhook.url,
            METRICS=f"127.0.0.1:{port}",
            DEST_IP=f"{SERVER}:{CLOSED}",
        ) as service:
            call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, CLOSED)))
            assert service.wait_for(
                lambda: [line for line in service.lines if _DEAD in line["message"]]
            )
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
    assert SECRET not in text
    families = list(parse(text))  # type: ignore[no-untyped-call]
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["tcp_trace_failures_total", "refused"] == TIMES
    assert samples["tcp_trace_records_submitted_total",] == TIMES
    assert samples["tcp_trace_failing_destinations",] == 1
    assert samples["tcp_trace_webhook_dead", "default"] == 1
    assert samples["tcp_trace_notifications_pending", "default"] >= 1
    assert not any(name == "tcp_trace_coverage_ratio" for name, *_ in samples)
