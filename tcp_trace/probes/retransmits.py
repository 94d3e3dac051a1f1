"""The probe `retransmits`: retransmitted segments by destination, state and process.

Wanted if the metrics have series per destination: METRICS and METRICS_DESTINATIONS.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from tcp_trace.connects.events import State
from tcp_trace.kernel.contract import Attach, Counts, Kind, Point, Without
from tcp_trace.kernel.maps import items
from tcp_trace.kernel.shapes import Shape
from tcp_trace.probes.addresses import destination_of
from tcp_trace.probes.shapes import DESTINATION, LONG
from tcp_trace.safetext import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.settings.config import Settings

RETRANSMITTER = Shape("retransmitter", destination=DESTINATION, state="I", pad="I", comm="16s")

# Rows of destination, state and process: 110 bytes each. The least recently counted goes first.
_RETRANSMITS = 4_096

_TRACEPOINT = "tcp:tcp_retransmit_skb"
_POINT = Point(
    "retransmits",
    (
        (Attach(Kind.RAW_TRACEPOINT, _TRACEPOINT, "retransmit_of_three"),),
        (Attach(Kind.RAW_TRACEPOINT, _TRACEPOINT, "retransmit_of_two"),),
    ),
    "a retransmitted segment",
    lost="retransmits are not counted",
    without=Without.NO_PROBE,
)


class Retransmits:
    """The probe; see the module. Its counts are in a map: it submits no records."""

    name = "retransmits"
    source = "retransmits.c"

    def is_wanted(self, settings: Settings, /) -> bool:
        """Return whether the metrics have series per destination."""
        return settings.metrics is not None and settings.metrics_destinations > 0

    def maps(self, _: Settings, /) -> tuple[str, ...]:
        """Return the map of the counts."""
        return ("retransmits",)

    def constants(self, _: Settings, /) -> Mapping[str, int | str]:
        """Return the number of counts to keep."""
        return {"RETRANSMITS_MAX": _RETRANSMITS}

    def points(self, _: Settings, /) -> tuple[Point, ...]:
        """Return the point: a segment is retransmitted."""
        return (_POINT,)

    def decode(self, record: bytes, /) -> NoReturn:
        """Raise ValueError: it has no records."""
        raise ValueError(record)

    def counts(self, maps: Mapping[str, int], settings: Settings, /) -> tuple[Counts]:
        """Return the highest counts, at most METRICS_DESTINATIONS.

        The limit is on rows, not destinations: a process can take any number of names. Rows that
        differ only in the network namespace are added up.
        """
        found: Counter[tuple[str, ...]] = Counter()
        for key, value in items(maps["retransmits"], RETRANSMITTER.size, LONG.size).items():
            destination, state, _, comm = RETRANSMITTER.unpack(key)
            process = printable(comm.partition(b"\0")[0].decode(errors="backslashreplace"))
            row = (str(destination_of(destination)), State(state).name, process)
            found[row] += LONG.unpack(value)[0]
        rows = dict(found.most_common(settings.metrics_destinations))
        labels = ("destination", "state", "process")
        return (Counts("retransmits", "Segments that TCP retransmitted.", labels, rows),)


RETRANSMITS = Retransmits()
