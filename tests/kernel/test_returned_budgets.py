"""The budget of failures where connect() returns an error and nothing was sent."""

from __future__ import annotations

import sys

from tcp_trace.commands import sandbox
from tcp_trace.probes.connect import BURST
from tests.kernel.test_budgets import ELSEWHERE


def test_errors_that_sent_nothing_are_held_back_with_their_reason(hook: str) -> None:
    """What connect() returned is counted once, and as what it is, beyond the budget, too."""
    times = BURST + BURST // 2
    code = "import errno, socket\n" + f"for _ in range({times}):\n    s = socket.socket()\n"
    code += f"    assert s.connect_ex(('203.0.113.9', {ELSEWHERE})) == errno.ENETUNREACH\n"
    with sandbox.network() as network, sandbox.service(HOOK=hook) as service:
        sandbox.run_in(network.client, sys.executable, "-c", code)
        service.wait_for(lambda: service.failures(dport=ELSEWHERE) == times)
        assert service.failures(dport=ELSEWHERE, reason="network_unreachable") == times
        assert service.failures(dport=ELSEWHERE) == times
