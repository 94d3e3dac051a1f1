"""A second instance with the state directory of one that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.commands import loopback, sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tests.kernel.connects import attempt, many

if TYPE_CHECKING:
    from tcp_trace.commands.sandbox import Network, Service

TIMES = 23
_FAILED = "connect failed"
CLOSED, LATER = 10_974, 10_975
WATCHED = f"{SERVER}:{CLOSED},{SERVER}:{LATER}"


def seen(service: Service) -> int:
    """Return how many failures a service logged, once it has logged all."""
    return len(
        service.wait_for(
            lambda: found if len(found := service.find(_FAILED, dport=CLOSED)) >= TIMES else []
        )
    )


def test_a_second_instance_watches_and_sends_nothing(hook: str, network: Network) -> None:
    """It says so before it compiles, and logs what it sees; each message comes once."""
    with (
        loopback.webhook() as (url, messages),
        sandbox.service(HOOK=hook, SLACK_URL=url, DEST_IP=WATCHED) as first,
        sandbox.service(
            HOOK=hook, SLACK_URL=url, DEST_IP=WATCHED, STATE_DIR=first._variables["STATE_DIR"]
        ) as second,
    ):
        assert second.lines[0]["message"].startswith("tcp-trace: another tcp-trace has STATE_DIR=")
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, CLOSED)))
        assert second.wait_for(lambda: second.find("notification"))
        assert first.wait_for(lambda: first.find("notification sent"))
        assert [seen(each) for each in (first, second)] == [TIMES, TIMES]
        assert len(messages) == 1
        assert second.find("notification sent") == []
        # Run by systemd, as both are here, it takes over.
        assert first.stop() == 0
        assert second.wait_for(
            lambda: second.find("the other instance has ended: this one sends messages now")
        )
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, LATER)))
        assert second.wait_for(lambda: second.find("notification sent"))
