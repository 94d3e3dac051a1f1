"""Connect latencies, read from the kernel program's maps for the metrics."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel.maps import items, lookup
from tcp_trace.probes.addresses import destination_of
from tcp_trace.probes.shapes import DESTINATION, LATENCY, LATENCY_SLOTS

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERALL, EACH = "latency", "latencies"
"""The maps' names: one value per CPU, one per destination."""

_POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")


class Latency(NamedTuple):
    """The time from SYN_SENT to ESTABLISHED of established attempts.

    `log2_us[i]` of them took less than 2**(i+1) microseconds and, unless i is 0, at least 2**i.
    """

    sum_ns: int
    log2_us: tuple[int, ...]

    @property
    def attempts(self) -> int:
        """The number of attempts."""
        return sum(self.log2_us)


class Latencies:
    """The latencies since the program was attached, by the descriptors of their maps."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._overall = fds.get(OVERALL)
        self._each = fds.get(EACH)
        self._cpus = _possible_cpus() if self._overall is not None else 0

    def overall(self) -> Latency | None:
        """Return the latency over all destinations, None if it is not counted."""
        if self._overall is None:
            return None
        value = lookup(self._overall, bytes(4), LATENCY.size * self._cpus)
        return _sum([*LATENCY.iter_unpack(value or b"")])

    def most_used(self, number: int) -> dict[str, Latency]:
        """Return the latency of the destinations with the most established attempts.

        The key is a destination's text. Destinations that differ only in the network namespace are
        added up. The map keeps the most recently used ones: a count may start again.
        """
        if self._each is None:
            return {}
        found: dict[str, list[tuple[int, ...]]] = {}
        for key, value in items(self._each, DESTINATION.size, LATENCY.size).items():
            found.setdefault(str(destination_of(key)), []).append(LATENCY.unpack(value))
        latencies = {place: _sum(values) for place, values in found.items()}
        counts = Counter({place: latency.attempts for place, latency in latencies.items()})
        return {place: latencies[place] for place, _ in counts.most_common(number)}


def _sum(values: list[tuple[int, ...]]) -> Latency:
    sum_ns, *log2_us = map(sum, zip(*values, strict=True)) if values else [0] * (1 + LATENCY_SLOTS)
    return Latency(sum_ns, tuple(log2_us))


def _possible_cpus() -> int:
    """Return the number of per-CPU values of a map; sysfs has `0-3` or `0,2-3`."""
    return int(re.findall(r"\d+", _POSSIBLE_CPUS.read_text())[-1]) + 1
