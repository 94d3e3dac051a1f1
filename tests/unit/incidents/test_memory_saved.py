"""The memory as it is saved: what survives a restart, a boot, and damage."""

from __future__ import annotations

import json

import pytest

from tcp_trace.connects.events import Counters, Destination, Moment
from tcp_trace.incidents.memory import MOST, VERSION, Memory
from tests.unit.incidents.incident_world import destination
from tests.unit.incidents.memory_world import BOOT, EPOCH, Kernel, dumped

DAY = 86_400.0


def test_a_restart_forgets_nothing_and_counts_nothing_twice() -> None:
    """The kernel's totals go on where they were."""
    kernel, other = Kernel(), Kernel()
    for number in range(40):
        for each in (kernel, other):
            each.sweep(good=97 + number % 7, bad=number % 5, latency=0.001 * (1 + number % 3))
        kernel.restart()
    for known, expected in zip(kernel.known, other.known, strict=True):
        assert known == pytest.approx(expected, rel=0.02)
    assert dumped(kernel.memory).count("\n") == 1


def test_another_boot_forgets_what_only_that_one_knew() -> None:
    """Numbers of network namespaces are given anew; totals begin anew, whatever they are."""
    kernel = Kernel()
    kernel.sweep(good=3)
    kernel.sweep(good=3)
    pod = Destination("10.1.2.3", 80, 4026532281, 77)
    kernel.memory.take(pod, kernel.counts, kernel.now)
    gap, share = kernel.known.gap, kernel.known.share
    kernel.restart()
    assert kernel.memory.known(pod) is not None
    kernel.restart("another", away=5 * DAY)
    assert kernel.memory.known(pod) is None
    kernel.sweep(good=1)  # more than before the boot: 7 after 6
    assert (kernel.known.gap, kernel.known.share) == (gap, share)


def test_a_full_memory_takes_half_a_megabyte() -> None:
    """With the longest addresses and numbers."""
    memory = Memory()
    for number in range(MOST):
        place = Destination(f"2001:db8:1234:5678:9abc:def0:1234:{number:x}", 54_321)
        for later in (1, 2):
            counts = Counters(later * 12_345_678, later * 123, int(later * 6e11), 1_234_567)
            memory.take(place, counts, Moment(later * 600.0, EPOCH + later * 600.0))
    assert len(dumped(memory)) < 560_000


def worked(number: int = 4) -> Memory:
    """Return a memory of some."""
    memory = Memory()
    for each in range(number):
        memory.take(destination(each), Counters(7, 1, 10**9, 10**6), Moment(2.0, EPOCH))
    return memory


LINE = next(line for line in dumped(worked()).split("\n") if '"destination"' in line)
DAMAGED = [
    "",
    "{",
    "null",
    "7",
    "[]",
    '{"subject": 1}',
    "[" * 100_000,
    LINE[:-9],
    LINE.replace("destination", "unheard"),
    LINE.replace("443", "[443]"),
    LINE.replace("443", "null"),
    LINE.replace(",7,", ',"7",'),
    LINE.replace(",7,", ",-7,"),
    LINE.replace("0.125", "NaN"),
    LINE.replace("0.125", "1.25"),
    LINE.replace("0.125", "true"),
    LINE.replace("0.125", "1" + "0" * 400),
    LINE.replace("0.001", "0.0"),
    LINE.replace("0.001", "Infinity"),
    LINE.replace("0.001", "[0.001]"),
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_costs_itself_only(damage: str) -> None:
    """It is counted."""
    header, first, *others = dumped(worked()).split("\n")
    assert damage != first
    memory = Memory()
    memory.load("\n".join([header, damage, *others]), BOOT)
    assert (len(memory), memory.damaged) == (3, 1)
    assert dumped(memory).split("\n")[1:] == others


@pytest.mark.parametrize(
    "header",
    [
        *("", "x", "[]", "7", '"version"', "{}", '{"version": 1}', "[" * 100_000),
        json.dumps({"version": VERSION + 1, "boot": BOOT}),
    ],
)
def test_a_dump_that_is_not_one_is_left(header: str) -> None:
    """Or has another version: counted, and nothing is known."""
    memory = Memory()
    memory.load(f"{header}\n{LINE}", BOOT)
    assert (len(memory), memory.damaged) == (0, 1)


def test_too_long_a_dump_is_cut() -> None:
    """Its lines are not from here."""
    memory = Memory()
    header, line = dumped(worked(1)).split("\n")
    lines = (line.replace("443", str(port)) for port in range(MOST + 500))
    memory.load("\n".join([header, *lines]), BOOT)
    assert len(memory) == MOST
