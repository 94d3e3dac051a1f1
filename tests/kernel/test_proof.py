"""Whether a hook is run, on this kernel: before it is attached, and afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tcp_trace import resources
from tcp_trace.kernel import gate, layout, loader, source
from tcp_trace.kernel.compiler import Module
from tcp_trace.kernel.contract import Attach, Kind, NotAttachedError
from tcp_trace.kernel.privileges import Account
from tcp_trace.probes import connect, proof
from tcp_trace.probes.connect import CONNECT
from tcp_trace.service import attach
from tcp_trace.settings import config
from tests.kernel.connects import attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY_LISTENS = 10_961
HOOK = Attach(Kind.RAW_TRACEPOINT, "sock:inet_sock_set_state", "tracepoint_inet_sock_set_state")


@pytest.fixture
def loaded() -> Iterator[Module]:
    """Return the program for the tracepoint, which is not attached yet."""
    settings = config.load({"HOOK": "tracepoint"}, None)
    bpf, plan = resources.directory("bpf"), loader.Plan([CONNECT], settings)
    found = layout.read(source.fields(source.text_of([CONNECT.source], bpf)), [])
    common = attach.common(Account(os.geteuid(), os.getegid()))
    module = Module(loader.unit_of(plan, settings, common, bpf, found))
    gate.write(module.map_fd("the_gate"), gate.Role.OPEN)
    yield module
    module.close()


@pytest.mark.filterwarnings("ignore:not a bytes object")  # BCC of itself
def test_only_a_hook_that_is_run_sees_the_connect(loaded: Module) -> None:
    """Afterwards nothing is watched, and nothing is left of it in what is counted."""
    fds = {name: loaded.map_fd(name) for name in ("watched", "tallies")}
    assert not proof.is_run(fds)
    with pytest.raises(NotAttachedError, match="does not see a connect"):
        connect._prove(HOOK, fds)
    link, _ = loaded.attach(HOOK)
    try:
        connect._prove(HOOK, fds)
        attempt("127.0.0.1", NOBODY_LISTENS)
    finally:
        loaded.detach(link)
    assert [count.value for count in loaded.bpf["tallies"].values() if count.value] == []
    assert len(loaded.bpf["destinations"]) == 0
