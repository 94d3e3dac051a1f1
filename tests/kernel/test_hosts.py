"""Destinations that are watched by name, and what is said where no names can be learned."""

from __future__ import annotations

import errno
import json
import socket
import time

from tcp_trace.commands import loopback, sandbox
from tests.kernel.conftest import watches_returns
from tests.kernel.connects import attempt
from tests.kernel.test_silences import tcp_trace

WATCHED, OTHER = 10_951, 10_952  # nobody listens there
SILENCED, HEARD = 10_953, 10_954
ENDED = "a silence ended, since what it silenced is over"


def test_hosts_are_watched_by_name(hook: str) -> None:
    """With DEST_HOST alone its addresses are watched, on its port, and nothing else."""
    with sandbox.service(HOOK=hook, DEST_HOST=f"localhost:{WATCHED}") as service:
        for port in (OTHER, WATCHED):
            assert attempt("127.0.0.1", port) == errno.ECONNREFUSED
        assert attempt("127.0.0.2", WATCHED) == errno.ECONNREFUSED
        (line,) = service.wait_for(lambda: service.find("connect failed"))
        time.sleep(0.2)
        assert len(service.find("connect failed")) == 1
        assert (line["daddr"], line["dport"], line["host"]) == ("127.0.0.1", WATCHED, "localhost")
        service.reconfigure(DEST_HOST=f"localhost:{OTHER}", DEST_IP="127.0.0.2")
        attempt("127.0.0.1", WATCHED)
        service.wait_for(
            lambda: attempt("127.0.0.1", OTHER) and service.find("connect failed", dport=OTHER)
        )
        attempt("127.0.0.2", WATCHED)
        service.wait_for(lambda: service.find("connect failed", daddr="127.0.0.2"))
        assert len(service.find("connect failed", daddr="127.0.0.1", dport=WATCHED)) == 1
        assert service.find("connect failed", daddr="127.0.0.2", host=None)


def test_a_host_that_has_no_address(hook: str) -> None:
    """The service starts, says so, and watches the rest."""
    hosts = "does-not-exist.invalid,localhost"
    with sandbox.service(HOOK=hook, DEST_HOST=hosts) as service:
        told = service.wait_for(
            lambda: [line for line in service.lines if "does-not-exist" in line["message"]]
        )
        assert [line["level"] for line in told] == ["error"]
        attempt("127.0.0.1", OTHER)
        assert service.wait_for(lambda: service.find("connect failed", host="localhost"))


def test_where_functions_cannot_be_watched_returning_the_service_says_so(hook: str) -> None:
    """Why not stands in the line that tells of the start, and failures are told all the same.

    Where they can, the last line tells how many returns were missed.
    """
    with sandbox.service(HOOK=hook) as service:
        (facts,) = service.find("watching")
        assert ("no_names" in facts) == (not watches_returns())
        attempt("127.0.0.1", OTHER)
        assert service.wait_for(lambda: service.find("connect failed", dport=OTHER))
        assert service.stop() == 0
        (stopped,) = service.find("stopped")
        assert ("missed_returns" in stopped) == watches_returns()


def test_a_watched_host_is_one_incident_and_its_silence_ends_with_it(hook: str) -> None:
    """By its name, at whatever address; and the service takes the silence out of the file."""
    with (
        loopback.webhook() as (url, messages),
        sandbox.service(
            HOOK=hook, DEST_HOST="localhost", SLACK_URL=url, RESOLVE_AFTER="5s"
        ) as service,
    ):
        where = f"localhost:{SILENCED}"
        name = tcp_trace(service, "silence", "add", "--until-recovered", where).partition(":")[0]
        for port in (SILENCED, HEARD):
            assert attempt("127.0.0.1", port) == errno.ECONNREFUSED
        service.wait_for(lambda: [m for m in messages if f"localhost:{HEARD}" in m["text"]])
        assert name in tcp_trace(service, "silence", "list")
        service.wait_for(lambda: SILENCED in listed(service))
        assert listed(service) == {SILENCED: "silenced", HEARD: "open"}
        with socket.create_server(("127.0.0.1", SILENCED)):
            assert attempt("127.0.0.1", SILENCED) == 0
            assert service.wait_for(lambda: service.find(ENDED, silence=name), 60)
        assert name not in tcp_trace(service, "silence", "list", "--all")
        assert not [m for m in messages if str(SILENCED) in m["text"]]


def listed(service: sandbox.Service) -> dict[int, str]:
    """Return how the incidents of ports of localhost stand."""
    found = json.loads(tcp_trace(service, "incidents", "--json"))["incidents"]
    return {
        int(entry["subject"].removeprefix("localhost:")): entry["status"]
        for entry in found
        if entry["subject"].startswith("localhost:")
    }
