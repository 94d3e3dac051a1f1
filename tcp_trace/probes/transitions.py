"""Decodes the records of the probe `connect`: socket state changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Transition
from tcp_trace.probes.addresses import address_of, destination_of, process_of
from tcp_trace.probes.shapes import FLAG_RACED, FLAG_RETURNS, FLAG_UNSENT, TRANSITION

if TYPE_CHECKING:
    from collections.abc import Iterable


def decode_all(records: Iterable[bytes]) -> list[Transition]:
    """Decode records of the ring, each a `struct transition`."""
    to_wall = time.time() - time.monotonic()
    return [decode(record, to_wall) for record in records]


def decode(record: bytes, to_wall: float) -> Transition:
    """Decode one `struct transition`; `to_wall` is added to CLOCK_MONOTONIC to get the epoch."""
    (
        start_ns, timestamp_ns, maker, destination, saddr,
        errno, soft_errno, syns, flags, lport, oldstate, newstate, start_cpu, _,
    ) = TRANSITION.unpack_from(record)  # fmt: skip
    return Transition(
        start_ns,
        start_cpu,
        timestamp_ns,
        timestamp_ns * 1e-9 + to_wall,
        oldstate,
        newstate,
        destination_of(destination),
        address_of(saddr),
        lport,
        process_of(maker),
        errno,
        soft_errno,
        syns,
        bool(flags & FLAG_RETURNS),
        bool(flags & FLAG_RACED),
        bool(flags & FLAG_UNSENT),
        record,
    )
