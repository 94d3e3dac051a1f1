"""Metrics for Prometheus: `METRICS=127.0.0.1:9410`, read at `/metrics`.

On loopback only, and without a webhook's address. Failures are not by destination: those that fail
change by the minute, and a metric of each would stay for ever. Latencies are, for the
`METRICS_DESTINATIONS` with the most connects. Needs `prometheus_client`, which is imported
only where this module is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from tcp_trace.service.exporter import Exporter, Page
from tcp_trace.service.losses import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tcp_trace.kernel.contract import Counts
    from tcp_trace.notify.statistics import Statistics
    from tcp_trace.probes.connectmaps import Tallies
    from tcp_trace.probes.latency import Latency
    from tcp_trace.settings.values import Address

    Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    FamilyT = TypeVar("FamilyT", CounterMetricFamily, GaugeMetricFamily)

_PREFIX = "tcp_trace_"
# Buckets of the latency, as powers of two in microseconds: from 16 us to 134 s, which is more than
# a SYN waits for an answer.
_LATENCY_BUCKETS = range(4, 28)


class Figures(NamedTuple):
    """Everything that is exported.

    `losses` are by `Loss.name`, `failures` and `drops` by reason, `latencies` by destination;
    `counts` are those that probes have by themselves; the rest is by webhook.
    """

    version: str
    hook: str
    tallies: Tallies
    losses: Mapping[str, int]
    raced: int
    coverage: Mapping[str, float | None]
    failures: Mapping[str, int]
    silenced: int
    below_threshold: int
    failing_destinations: int
    webhooks: Mapping[str, Statistics]
    pending: Mapping[str, int]
    drops: Mapping[str, int]
    degraded: bool
    lost_lines: int
    latency: Latency | None
    latencies: Mapping[str, Latency]
    counts: Sequence[Counts] = ()


def exporter(address: Address, figures: Callable[[], Figures]) -> Exporter:
    """Return an exporter for an address; once started, it calls `figures` for every scrape.

    Raises OSError where the address cannot be bound.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return Exporter(address, Page(CONTENT_TYPE_LATEST, lambda: generate_latest(registry)))


class _Collector(Collector):
    """The collector that the registry asks at every scrape."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> list[Family]:
        """Return nothing: figures are not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Family]:
        """Return the families of now."""
        yield from families(self._figures())


def families(figures: Figures) -> Iterator[Family]:
    """Return the figures as Prometheus has them."""
    build = {"version": figures.version, "hook": figures.hook}
    yield _gauge("build_info", "Always 1; what is running.", {tuple(build.values()): 1}, *build)
    yield _counter("failures", "Failed connects.", _keyed(figures.failures), "reason")
    yield _counter(
        "failures_silenced",
        "Failures that a silence or a window held back.",
        {(): figures.silenced},
    )
    yield _counter(
        "failures_below_threshold",
        "Failures redeemed by a success, or too few: those of the daily digest.",
        {(): figures.below_threshold},
    )
    yield _gauge(
        "failing_destinations",
        "Destinations in an open incident or storm.",
        {(): figures.failing_destinations},
    )
    yield _counter(
        "attempts_raced", "Attempts that lost a race, which is no failure.", {(): figures.raced}
    )
    yield from _of_the_kernel(figures.tallies)
    for loss in LOSSES:
        yield _counter(loss.metric, loss.help, {(): figures.losses[loss.name]})
    yield _gauge(
        "coverage_ratio",
        "Share of the kernel's own counts of attempts and failures that was seen.",
        _keyed({of: share for of, share in figures.coverage.items() if share is not None}),
        "of",
    )
    yield from _of_latency(figures)
    for counts in figures.counts:
        yield _counter(counts.name, counts.help, counts.values, *counts.labels)
    yield from _of_delivery(figures)
    yield _counter("log_lines_lost", "Log lines not written.", {(): figures.lost_lines})


def _of_the_kernel(tallies: Tallies) -> Iterator[Family]:
    for name, number, text in (
        ("records_submitted", tallies.submitted, "Records that reached the ring."),
        ("failures_held_back", tallies.held, "Failures beyond a budget, counted and not listed."),
        ("transitions_netted", tallies.netted, "Transitions seen by the net alone."),
        ("attempts_taken_up", tallies.taken_up, "Attempts begun by the net: the hook was not run."),
    ):
        yield _counter(name, text, {(): number})


def _of_latency(figures: Figures) -> Iterator[Family]:
    text = "Time from SYN to established."
    if figures.latency is not None:
        family = HistogramMetricFamily(_PREFIX + "connect_latency_seconds", text)
        family.add_metric([], *_histogram(figures.latency))
        yield family
    if figures.latencies:
        name = _PREFIX + "destination_connect_latency_seconds"
        family = HistogramMetricFamily(name, text, labels=["destination"])
        for destination, latency in figures.latencies.items():
            family.add_metric([destination], *_histogram(latency))
        yield family


def _histogram(latency: Latency) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets, each of which counts all that took less, and the sum in seconds."""
    buckets = [(str(2**i / 1e6), float(sum(latency.log2_us[:i]))) for i in _LATENCY_BUCKETS]
    return [*buckets, ("+Inf", float(latency.attempts))], latency.sum_ns / 1e9


def _of_delivery(figures: Figures) -> Iterator[Family]:
    yield from _of_webhooks(figures.webhooks)
    yield _gauge(
        "notifications_pending",
        "Notifications waiting to be sent.",
        _keyed(figures.pending),
        "webhook",
    )
    yield _counter(
        "notifications_dropped",
        "Notifications that will never be sent.",
        _keyed(figures.drops),
        "reason",
    )
    yield _gauge(
        "outbox_degraded",
        "1: the state directory cannot be written; pending notifications are in memory only.",
        {(): int(figures.degraded)},
    )


def _of_webhooks(webhooks: Mapping[str, Statistics]) -> Iterator[Family]:
    done: dict[tuple[str, ...], float] = {
        (webhook, fate): number
        for webhook, each in webhooks.items()
        for fate, number in (
            ("sent", each.sent),
            ("retried", each.retried),
            ("rejected", each.rejected),
            ("logged", each.logged),
            ("resent", each.resent),
        )
    }
    yield _counter("notifications", "Notifications by fate.", done, "webhook", "fate")
    dead = {name: int(each.dead) for name, each in webhooks.items()}
    yield _gauge("webhook_dead", "1: takes nothing until you act.", _keyed(dead), "webhook")
    yield _gauge(
        "webhook_last_error_timestamp_seconds",
        "When a webhook last failed to take a message, and why.",
        {
            (name, each.last_error): each.last_error_at or 0.0
            for name, each in webhooks.items()
            if each.last_error
        },
        "webhook",
        "error",
    )


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(key,): value for key, value in values.items()}


def _counter(
    name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> CounterMetricFamily:
    return _filled(CounterMetricFamily(_PREFIX + name, text, labels=labels), values)


def _gauge(
    name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    return _filled(GaugeMetricFamily(_PREFIX + name, text, labels=labels), values)


def _filled(family: FamilyT, values: Mapping[tuple[str, ...], float]) -> FamilyT:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
