"""The metrics of the real service, with a webhook that is dead."""

from __future__ import annotations

import socket
import time
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
MORE, LESS = 12_902, 12_903


def scrape(port: int) -> tuple[str, dict[tuple[str, ...], float]]:
    """Return the page, and its samples by their names and the values of their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = list(parse(text))  # type: ignore[no-untyped-call]
    samples = [sample for family in families for sample in family.samples]
    return text, {(each.name, *each.labels.values()): each.value for each in samples}


def test_latency(hook: str, network: Network) -> None:
    """How long connects took: over all, and of the destination with the most of them."""
    port = free_port()
    latency, each = (f"tcp_trace_{name}connect_latency_seconds" for name in ("", "destination_"))
    servers = call_in(
        network.server, lambda: [socket.create_server((SERVER, each)) for each in (MORE, LESS)]
    )
    given = {"METRICS": f"127.0.0.1:{port}", "METRICS_DESTINATIONS": "1"}
    with sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24", **given):
        began = time.monotonic()
        for where, times in ((MORE, TIMES), (LESS, 5), (CLOSED, 3)):
            call_in(network.client, lambda: many(times, lambda: attempt(SERVER, where)))  # noqa: B023
        took = time.monotonic() - began
        _, samples = scrape(port)
    for server in servers:
        server.close()
    assert samples[f"{latency}_count",] == samples[f"{latency}_bucket", "+Inf"] == TIMES + 5
    assert 0 < samples[f"{latency}_sum",] < (TIMES + 5) * took
    assert samples[f"{each}_count", f"{SERVER}:{MORE}"] == TIMES
    assert (f"{each}_count", f"{SERVER}:{LESS}") not in samples
    for name, of in ((latency, ()), (each, (f"{SERVER}:{MORE}",))):
        buckets = [
            (key[-1], count)
            for key, count in samples.items()
            if key[:-1] == (f"{name}_bucket", *of)
        ]
        within = [count for _, count in buckets]
        assert within == sorted(within)
        # No attempt took longer than its bucket says, so the sum is no more than theirs.
        exact = [later - earlier for earlier, later in zip([0.0, *within], within, strict=False)]
        most = sum(n * float(le) for (le, _), n in zip(buckets, exact, strict=True) if n)
        assert samples[(f"{name}_sum", *of)] <= most < float("inf")


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
            assert service.wait_for(lambda: service.failures() == TIMES)
            assert service.wait_for(
                lambda: [line for line in service.lines if _DEAD in line["message"]]
            )
            text, samples = scrape(port)
    assert SECRET not in text
    assert samples["tcp_trace_failures_total", "refused"] == TIMES
    assert samples["tcp_trace_records_submitted_total",] == TIMES
    assert samples["tcp_trace_failing_destinations",] == 1
    assert samples["tcp_trace_webhook_dead", "default"] == 1
    assert samples["tcp_trace_notifications_pending", "default"] >= 1
    assert not any(name == "tcp_trace_coverage_ratio" for name, *_ in samples)
