"""A program that the kernel runs over all things of a kind, on this kernel."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from tcp_trace import resources
from tcp_trace.kernel import btf, iterators
from tcp_trace.kernel.compiler import Module, Unit
from tcp_trace.kernel.contract import Attach, Kind, NotAttachedError
from tcp_trace.kernel.source import Field

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = Attach(Kind.ITERATOR, "task_file", "task_file")
# Writes process and descriptor of each open file.
_C = """
struct bpf_iter__task_file {
	void *meta;
	void *task;
	u64 fd;
	void *file;
};
static long (*write)(void *seq, const void *data, u32 size) = (void *)BPF_FUNC_seq_write;

BPF_ITER(task_file)
{
	u32 found[2] = {};

	if (!ctx->file || !ctx->task)
		return 0;
	bpf_probe_read_kernel(&found[0], 4, ctx->task + TGID);
	found[1] = (u32)ctx->fd;
	write(*(void **)ctx->meta, found, sizeof(found));
	return 0;
}
"""
_FOUND = struct.Struct("=II")


@pytest.fixture
def module() -> Iterator[Module]:
    """Return the program, which is not attached yet."""
    tgid = btf.read([Field("task_struct", "tgid")]).offsets["OFFSETOF_task_struct_tgid"]
    made = Module(Unit(_C, (f"-DTGID={tgid}",), resources.directory("bpf") / "kernel"))
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC of itself
def test_every_open_file_is_seen_once(module: Module) -> None:
    """Each time that the iterator is read, as it is at that moment; its own is one, too."""
    link, _ = module.attach(FILES)

    def mine() -> list[int]:
        found = [_FOUND.unpack(each) for each in chunks(iterators.read(link))]
        return sorted(fd for pid, fd in found if pid == os.getpid())

    before = mine()
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(23)]
    with_them = mine()
    assert {*opened} < {*with_them}
    assert len(with_them) == len(before) + 23
    for fd in opened:
        os.close(fd)
    assert mine() == before
    module.detach(link)


def chunks(written: bytes) -> list[bytes]:
    """Return what was written for each file."""
    return [written[at : at + _FOUND.size] for at in range(0, len(written), _FOUND.size)]


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC of itself
def test_what_is_not_compiled_is_not_attached(module: Module) -> None:
    """The error names the program."""
    with pytest.raises(NotAttachedError, match="tasks is not compiled"):
        module.attach(Attach(Kind.ITERATOR, "task", "tasks"))
