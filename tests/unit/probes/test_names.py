"""Where names are looked for, and what is known without the probe."""

from __future__ import annotations

from tcp_trace.connects.events import Destination, Failure, Process
from tcp_trace.connects.heard import wire
from tcp_trace.connects.reasons import Reason
from tcp_trace.probes.addresses import pack
from tcp_trace.probes.names import Hearing, Hearings, Names, slots
from tcp_trace.probes.shapes import (
    NAME,
    NAME_BYTES,
    NAME_HASH,
    NAME_KEY,
    NAME_MARKS,
    NAME_MARKS_DOUBT,
)


def test_a_slot_is_where_the_hash_says() -> None:
    """As mark_of() of bpf/names/keep.h does it: multiplied word by word, the upper bits left."""
    value = 0
    for word in (5, 1, 0, 0, 2, 0, 0, 0):
        value = (value ^ word) * NAME_HASH % 2**64
    key = NAME_KEY.pack(5, 1, 0, 0, b"\2\0\0\0".ljust(16, b"\0"))
    assert slots(key)[0] == NAME_MARKS + (value >> 48)
    assert slots(key)[1] // NAME_MARKS == NAME_MARKS_DOUBT


def test_slots_are_spread() -> None:
    """Keys that differ a little have slots of their own, and those of one process one more."""
    keys = [
        NAME_KEY.pack(pid, shared, 0, 0, pack(f"10.0.{net}.{host}"))
        for pid in range(1000, 1010)
        for shared in (0, 1)
        for net in range(10)
        for host in range(10)
    ]
    found = [slots(key) for key in keys]
    assert len({slot for slot, _ in found}) > 0.97 * len(keys)
    assert len({doubt for _, doubt in found}) == 20
    assert all(slot >> 16 == key[4] for key, (slot, _) in zip(keys, found, strict=True))


def test_without_the_program_no_name_is_known() -> None:
    """Where nothing was loaded, look-ups find nothing and nothing was counted."""
    names = Names({})
    process = Process(1, "x", 0, 1, 2)
    failure = Failure(Destination("10.0.0.5", 1), Reason.REFUSED, 111, 1, process, 0.1, 1, 5.0, 5.0)
    assert names.of(failure) is None
    assert names.ttl_since("10.0.0.5", 0.0) is None
    assert names.hearings().of("db.example.com", 0.0) == []


def test_who_was_told_a_name() -> None:
    """What counts of it, the last told first; to others only what a name server told for sure."""
    name = wire("db.example.com")
    entries = {
        NAME_KEY.pack(7, 0, 0, 0, pack("10.0.0.5")): NAME.pack(1, 20, 10**12, 0, 0, 9, 0, name),
        NAME_KEY.pack(0, 1, 0, 0, pack("2001:db8::5")): NAME.pack(1, 30, 10**12, 0, 0, 9, 1, name),
        NAME_KEY.pack(5, 1, 0, 0, pack("10.0.0.6")): NAME.pack(1, 40, 10**12, 0, 0, 9, 0, name),
        NAME_KEY.pack(8, 0, 9, 3, pack("10.0.0.7")): NAME.pack(1, 50, 10**11, 0, 0, 9, 0, name),
        NAME_KEY.pack(9, 0, 0, 0, pack("10.0.0.8")): NAME.pack(
            1, 60, 10**12, 0, 0, 9, 1, wire("db.example.co")
        ),
    }
    hearings = Hearings(entries)
    assert hearings.of("db.example.com", 101.0) == [
        Hearing("2001:db8::5", 0, is_shared=True, netns=0, netns_mix=0),
        Hearing("10.0.0.5", 7, is_shared=False, netns=0, netns_mix=0),
    ]
    first = hearings.of("db.example.com", 99.0)[0]
    assert first == Hearing("10.0.0.7", 8, is_shared=False, netns=9, netns_mix=3)
    assert hearings.of("x" * NAME_BYTES, 0.0) == []
