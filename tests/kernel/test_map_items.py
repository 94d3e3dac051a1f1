"""A hash map of this kernel, read in batches."""

from __future__ import annotations

import pytest

from tcp_trace import resources
from tcp_trace.kernel.compiler import Module, Unit
from tcp_trace.kernel.maps import delete, items, keys, update

ROOM = 2_003


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC of itself
@pytest.mark.parametrize("kind", ["hash", "lru_hash"])
@pytest.mark.parametrize("held", [0, 1, 255, 256, 257, 1_501])
def test_all_of_it_is_read_once(kind: str, held: int) -> None:
    """Whatever number of entries there is; none is left out, and none of those removed is there."""
    text = f'BPF_TABLE("{kind}", u64, u32, numbers, {2 * ROOM});\n'
    module = Module(Unit(text, (), resources.directory("bpf") / "kernel"))
    fd = module.map_fd("numbers")
    for number in range(held + 23):
        update(fd, number.to_bytes(8, "little"), (number * 7).to_bytes(4, "little"))
    for number in range(held, held + 23):
        delete(fd, number.to_bytes(8, "little"))
    found = items(fd, 8, 4)
    assert sorted(found) == sorted(keys(fd, 8))
    assert {
        int.from_bytes(key, "little"): int.from_bytes(n, "little") for key, n in found.items()
    } == {number: number * 7 for number in range(held)}
    module.close()
