"""The shapes of the maps of names, and what is known without them."""

from __future__ import annotations

import re

from tcp_trace import resources
from tcp_trace.core.events import Destination, Failure, Process
from tcp_trace.core.reasons import Reason
from tcp_trace.kernel.names import KEY, NAME, Names

_SIZES = {"u32": 4, "u64": 8, "union address": 16}


def shape(name: str) -> list[tuple[str, int]]:
    """Return the fields and their sizes of a struct of bpf/names.h."""
    header = (resources.directory("bpf") / "names.h").read_text()
    body = re.search(rf"struct {name} {{\n(.*?)\n}};", header, re.DOTALL)
    assert body
    plain = re.sub(r"\tunion {.*?\t};", "", body[1], flags=re.DOTALL)
    fields = re.findall(r"^\t(u\d+|union \w+) (\w+);", plain, re.MULTILINE)
    return [(field, _SIZES[kind]) for kind, field in fields]


def test_shapes_are_those_of_the_header() -> None:
    """What is packed and unpacked has the fields of the C structs, in their order."""
    assert shape("name_key") == [("address", 16), ("netns", 4), ("pid", 4)]
    assert KEY.size == 24
    fields = [("since_ns", 8), ("seen_ns", 8), ("other_ns", 8), ("ttl", 4), ("pad", 4)]
    assert shape("name") == fields
    header = (resources.directory("bpf") / "names.h").read_text()
    (size,) = re.findall(r"#define NAME_BYTES (\d+)", header)
    assert NAME.size == sum(size for _, size in fields) + int(size)


def test_without_the_program_no_name_is_known() -> None:
    """Where nothing was loaded, look-ups find nothing and nothing was counted."""
    names = Names({})
    process = Process(1, "x", 0, 1, 2)
    failure = Failure(Destination("10.0.0.5", 1), Reason.REFUSED, 111, 1, process, 0.1, 1, 5.0, 5.0)
    assert names.of(failure) is None
    assert names.ttl_since("10.0.0.5", 0.0) is None
