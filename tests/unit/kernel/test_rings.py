"""The ring is read as the kernel writes it, and kept until it is released."""

from __future__ import annotations

import mmap
import os
from itertools import pairwise
from pathlib import Path

import pytest

from tcp_trace.kernel.rings import BUSY, DISCARDED, WINDOW, Ring
from tests.ring import Producer

SIZE = 64 * 1024


@pytest.fixture
def producer() -> Producer:
    """Return a ring without records."""
    return Producer(SIZE)


def drain(ring: Ring, most: int = 256) -> list[bytes]:
    """Read and release all there is."""
    found: list[bytes] = []
    while taken := ring.read(most):
        found += taken
        ring.release(ring.position)
    return found


def test_records_come_in_their_order(producer: Producer) -> None:
    """Of any length, up to as many as wanted; then nothing."""
    ring = Ring(producer.fd, producer.size)
    records = [bytes([length]) * length for length in range(1, 60)]
    for record in records:
        assert producer.put(record) >= 0
    assert ring.read(9) == records[:9]
    assert ring.read(90) == records[9:]
    assert ring.read(90) == []
    assert ring.unread == 0


@pytest.mark.parametrize("start", [0, SIZE - 8, SIZE - 80, SIZE * 7 - 4096, 2**40])
def test_records_go_round_the_end(producer: Producer, start: int) -> None:
    """A record that begins at the end of the data goes on at its beginning."""
    producer.start_at(start)
    ring = Ring(producer.fd, producer.size)
    records = [number.to_bytes(4, "big") * 38 for number in range(3_000)]
    found: list[bytes] = []
    for record in records:
        while producer.put(record) < 0:
            found += ring.read(100)
            ring.release(ring.position)
    assert found + drain(ring) == records


def test_what_is_not_released_is_there_for_the_next_reader(producer: Producer) -> None:
    """A reader that dies loses nothing but what it had released."""
    records = [bytes([number]) * 152 for number in range(10)]
    for record in records:
        producer.put(record)
    first = Ring(producer.fd, producer.size)
    first.read(4)
    first.release(first.position)
    first.read(4)
    second = Ring(producer.fd, producer.size)
    assert second.read(100) == records[4:]


def test_a_full_ring_takes_nothing_until_it_is_released(producer: Producer) -> None:
    """The producer's room is what the consumer has released, not what it has read."""
    ring = Ring(producer.fd, producer.size)
    while producer.put(b"x" * 152) >= 0:
        pass
    assert ring.unread == producer.size - producer.size % 160
    assert len(ring.read(100)) == 100
    assert producer.put(b"x" * 152) < 0
    ring.release(ring.position)
    assert producer.put(b"x" * 152) >= 0


def test_a_record_that_is_not_complete_ends_the_reading(producer: Producer) -> None:
    """Until it is; what comes behind it waits as long."""
    ring = Ring(producer.fd, producer.size)
    producer.put(b"one")
    busy = producer.put(b"two", BUSY)
    producer.put(b"three")
    assert ring.read(9) == [b"one"]
    assert ring.read(9) == []
    assert ring.unread
    producer.complete(busy, len(b"two"))
    assert ring.read(9) == [b"two", b"three"]


def test_a_discarded_record_is_none(producer: Producer) -> None:
    """It is passed over, and released with what is around it."""
    ring = Ring(producer.fd, producer.size)
    for record, flags in ((b"one", 0), (b"gone", DISCARDED), (b"two", 0), (b"gone", DISCARDED)):
        producer.put(record, flags)
    assert ring.read(9) == [b"one", b"two"]
    assert ring.unread == 0


def test_only_a_window_is_mapped() -> None:
    """Not even while it is read is the data mapped as a whole: mapped pages are resident."""
    large = Producer(4 * 1024 * 1024)
    ring = Ring(large.fd, large.size)
    while large.put(b"x" * 152) >= 0:
        pass
    seen = []
    positions = [0]
    while ring.unread:
        seen.append(len(ring.read(10_000)))
        positions.append(ring.position)
    assert max(b - a for a, b in pairwise(positions)) <= WINDOW
    assert sum(seen) == large.size // 160
    inode = str(os.fstat(large.fd).st_ino)
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if inode in line]
    assert len(mapped) == 3  # the producer, and the reader's two pages
    assert mmap.PAGESIZE <= WINDOW
