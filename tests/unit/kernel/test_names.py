"""The shapes of the maps of names, and what is known without them."""

from __future__ import annotations

import re

from tcp_trace import resources
from tcp_trace.connects.events import Destination, Failure, Process
from tcp_trace.connects.heard import LONGEST_SECONDS
from tcp_trace.connects.reasons import Reason
from tcp_trace.kernel.names import KEY, NAME, Names, slots
from tcp_trace.kernel.nameservers import SERVER, SERVERS_MAX
from tcp_trace.kernel.stream import pack

_SIZES = {"u32": 4, "u64": 8, "union address": 16, "struct netns": 8}


def shape(name: str) -> list[tuple[str, int]]:
    """Return the fields and their sizes of a struct of bpf/names.h."""
    header = (resources.directory("bpf") / "names.h").read_text()
    body = re.search(rf"struct {name} {{\n(.*?)\n}};", header, re.DOTALL)
    assert body
    plain = re.sub(r"\tunion {.*?\t};", "", body[1], flags=re.DOTALL)
    fields = re.findall(r"^\t(u\d+|union \w+|struct \w+) (\w+);", plain, re.MULTILINE)
    return [(field, _SIZES[kind]) for kind, field in fields]


def constant(name: str) -> str:
    """Return the value of a constant of bpf/names.h."""
    header = (resources.directory("bpf") / "names.h").read_text()
    (value,) = re.findall(rf"#define {name}\s+(\S+)", header)
    return str(value)


def test_shapes_are_those_of_the_header() -> None:
    """What is packed and unpacked has the fields of the C structs, in their order."""
    who = [("who", 4), ("is_shared", 4), ("netns", 8)]
    assert shape("name_key") == [*who, ("address", 16)]
    assert KEY.size == 32
    times = [(f"{which}_ns", 8) for which in ("since", "seen", "until", "other", "born")]
    fields = [*times, ("ttl", 4), ("is_sure", 4)]
    assert shape("name") == fields
    assert NAME.size == sum(size for _, size in fields) + int(constant("NAME_BYTES"))
    assert shape("name_server") == [("address", 16), ("scope_id", 4)]
    assert SERVER.size == 20


def test_constants_are_those_of_the_header() -> None:
    """Both sides count and hash alike."""
    assert int(constant("NAME_SERVERS_MAX")) == SERVERS_MAX
    assert int(constant("LONGEST_SECONDS")) == LONGEST_SECONDS
    multiplier, marks = int(constant("NAME_HASH").removesuffix("ULL"), 16), 65_536
    assert int(constant("NAME_MARKS")) == marks
    value = 0
    for word in (5, 1, 0, 0, 2, 0, 0, 0):
        value = (value ^ word) * multiplier % 2**64
    key = KEY.pack(5, 1, 0, 0, b"\2\0\0\0".ljust(16, b"\0"))
    assert slots(key)[0] == marks + value * marks // 2**64
    assert slots(key)[1] // marks == int(constant("NAME_MARKS_DOUBT"))


def test_slots_are_spread() -> None:
    """Keys that differ a little have slots of their own, and those of one process one more."""
    keys = [
        KEY.pack(pid, shared, 0, 0, pack(f"10.0.{net}.{host}"))
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
