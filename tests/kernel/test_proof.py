"""Whether a hook is run, on this kernel: before it is attached, and afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.kernel import program, proof
from tcp_trace.kernel.privileges import Account
from tcp_trace.settings import config
from tests.kernel.connects import attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY_LISTENS = 10_961


@pytest.fixture
def loaded() -> Iterator[Any]:
    """Return the program for the tracepoint, which is not attached yet."""
    constants = program._constants(config.load({}, None), Account(os.geteuid(), os.getegid()))
    bpf, _ = program._load(program._layout(), constants, names=False)
    yield bpf
    bpf.cleanup()


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC of itself
def test_only_a_hook_that_is_run_sees_the_connect(loaded: Any) -> None:  # noqa: ANN401
    """Afterwards nothing is watched, and nothing is left of it in what is counted."""
    fds = {name: loaded[name].get_fd() for name in ("watched", "tallies")}
    assert not proof.is_run(fds)
    with pytest.raises(program.StartError, match="not run"):
        program._prove(loaded, "not run")
    hook = program._attach_tracepoint(loaded, program._TRACEPOINT)
    try:
        assert program._prove(loaded, "not run") is None
        attempt("127.0.0.1", NOBODY_LISTENS)
    finally:
        os.close(hook)
    assert [count.value for count in loaded["tallies"].values() if count.value] == []
    assert len(loaded["destinations"]) == 0
