"""The metrics: what a scrape over HTTP says, parsed as Prometheus does."""

from __future__ import annotations

import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tcp_trace.kernel.contract import Counts
from tcp_trace.notify.statistics import Statistics
from tcp_trace.probes.connectmaps import Tallies
from tcp_trace.probes.latency import Latency
from tcp_trace.service import metrics
from tcp_trace.service.metrics import Figures
from tcp_trace.settings import values
from tcp_trace.settings.values import Address
from tests.ports import free_port

FIGURES = Figures(
    version="1.2.3",
    hook="kprobe",
    tallies=Tallies(submitted=7, lost=1),
    losses=Counter(lost=1),
    raced=0,
    coverage={"attempts": 0.5, "failures": None},
    failures={"refused": 6, "timed_out": 1},
    silenced=11,
    below_threshold=13,
    failing_destinations=2,
    webhooks={
        "default": Statistics(sent=3, dead=True, last_error="status 404", last_error_at=1.5e9),
        "b": Statistics(),
    },
    pending={"default": 4, "b": 0},
    drops={"too old": 5},
    degraded=True,
    lost_lines=9,
    latency=None,
    latencies={},
)


def scrape(figures: Figures) -> dict[str, float]:
    """Serve, read over HTTP, and return the samples by their names as Prometheus writes them."""
    port = free_port()
    assert metrics.exporter(Address("127.0.0.1", port), lambda: figures).start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = list(parse(text))  # type: ignore[no-untyped-call]
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())):
        sample.value
        for sample in samples
    }  # fmt: skip


def test_what_a_probe_counts() -> None:
    """A row for each of its labels' values, which may be anybody's text."""
    rows: dict[tuple[str, ...], float] = {("10.0.0.5:443", 'a"b\\n'): 3.0, ("[::1]:1", ""): 1.0}
    counts = Counts("seen", "Seen.", ("destination", "process"), rows)
    found = scrape(FIGURES._replace(counts=(counts,)))
    name = "tcp_trace_seen_total destination"
    assert found[f'{name}=10.0.0.5:443 process=a"b\\n'] == 3
    assert found[f"{name}=[::1]:1 process="] == 1


def test_a_scrape() -> None:
    """All of it; what is not known is left out."""
    assert scrape(FIGURES) == {
        "tcp_trace_build_info hook=kprobe version=1.2.3": 1,
        "tcp_trace_failures_total reason=refused": 6,
        "tcp_trace_failures_total reason=timed_out": 1,
        "tcp_trace_failures_silenced_total": 11,
        "tcp_trace_failures_below_threshold_total": 13,
        "tcp_trace_failing_destinations": 2,
        "tcp_trace_records_submitted_total": 7,
        "tcp_trace_records_lost_total": 1,
        "tcp_trace_failures_held_back_total": 0,
        "tcp_trace_failures_held_lost_total": 0,
        "tcp_trace_attempts_evicted_total": 0,
        "tcp_trace_attempts_raced_total": 0,
        "tcp_trace_transitions_impossible_total": 0,
        "tcp_trace_transitions_netted_total": 0,
        "tcp_trace_returns_missed_total": 0,
        "tcp_trace_names_unkept_total": 0,
        "tcp_trace_attempts_taken_up_total": 0,
        "tcp_trace_transitions_missed_total": 0,
        "tcp_trace_coverage_ratio of=attempts": 0.5,
        "tcp_trace_notifications_total fate=sent webhook=default": 3,
        "tcp_trace_notifications_total fate=retried webhook=default": 0,
        "tcp_trace_notifications_total fate=rejected webhook=default": 0,
        "tcp_trace_notifications_total fate=logged webhook=default": 0,
        "tcp_trace_notifications_total fate=resent webhook=default": 0,
        "tcp_trace_notifications_total fate=sent webhook=b": 0,
        "tcp_trace_notifications_total fate=retried webhook=b": 0,
        "tcp_trace_notifications_total fate=rejected webhook=b": 0,
        "tcp_trace_notifications_total fate=logged webhook=b": 0,
        "tcp_trace_notifications_total fate=resent webhook=b": 0,
        "tcp_trace_webhook_dead webhook=default": 1,
        "tcp_trace_webhook_dead webhook=b": 0,
        "tcp_trace_webhook_last_error_timestamp_seconds error=status 404 webhook=default": 1.5e9,
        "tcp_trace_outbox_degraded": 1,
        "tcp_trace_notifications_pending webhook=default": 4,
        "tcp_trace_notifications_pending webhook=b": 0,
        "tcp_trace_notifications_dropped_total reason=too old": 5,
        "tcp_trace_log_lines_lost_total": 9,
    }


def test_latency() -> None:
    """A histogram over all destinations, and one of each that is asked for; buckets add up."""
    slots = (1, 0, 0, 0, 2, *[0] * 23, 4, 0, 0, 0)  # below 2 us, 16 to 32 us, 268 to 537 s
    latency = Latency(1_500_000_000, slots)
    got = scrape(FIGURES._replace(latency=latency, latencies={"[2001:db8::1]:443": latency}))
    for name, label in (("", ""), ("destination_", " destination=[2001:db8::1]:443")):
        full = f"tcp_trace_{name}connect_latency_seconds"
        assert got[f"{full}_sum{label}"] == 1.5
        assert got[f"{full}_count{label}"] == 7
        buckets = {
            key.rpartition("le=")[2]: count
            for key, count in got.items()
            if key.startswith(f"{full}_bucket{label} ")
        }
        assert len(buckets) == 25
        assert buckets["1.6e-05"] == 1
        assert buckets["3.2e-05"] == buckets["134.217728"] == 3
        assert buckets["+Inf"] == 7


@pytest.mark.parametrize("text", ["127.0.0.1:9410", "[::1]:9410", "localhost:9410"])
def test_where(text: str) -> None:
    """Loopback, in any form."""
    assert values.metrics(text).port == 9410


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("9410", "not an address and a port"),
        ("127.0.0.1", "not an address and a port"),
        ("127.0.0.1:port", "not an address and a port"),
        ("127.0.0.1:99999", "not an address and a port"),
        ("127.0.0.1:9410/metrics", "not an address and a port"),
        (":9410", "not an address and a port"),
        ("0.0.0.0:9410", "others could read it there"),
        ("[::]:9410", "others could read it there"),
        ("host.example:9410", "others could read it there"),
    ],
)
def test_where_not(text: str, error: str) -> None:
    """Whatever others could reach, or cannot be understood."""
    with pytest.raises(ValueError, match=error):
        values.metrics(text)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not needed by the service, so it may be missing; what to install is said."""
    monkeypatch.setattr(values, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="install the package python3-prometheus-client"):
        values.metrics("127.0.0.1:9410")
