"""One POST to a webhook: whatever the network does, `send` returns in time and tells no secret."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from tcp_trace.notify.answers import MAX_RETRY_AFTER
from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent, TransportError
from tests.unit.notify.samples import Address, to_slack
from tests.unit.notify.test_answers import ANSWERS
from tests.webhook import SECRET, Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = {"text": "a message"}


def send(webhook: Webhook, reply: Reply, deadline: float = 5.0) -> Fate:
    """Send one message that is answered so."""
    webhook.script.append(reply)
    return to_slack(Address(webhook.url), deadline=deadline).send(MESSAGE)


def no_posts_running(within: float = 5.0) -> bool:
    """Whether no thread of a POST is left, or all end in time."""
    until = time.monotonic() + within
    while any(thread.name == "tcp-trace-post" for thread in threading.enumerate()):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_a_message_arrives_as_json(webhook: Webhook) -> None:
    """The payload is the body of one POST to the secret path."""
    assert to_slack(Address(webhook.url)).send({"text": "ä <&> \udcff"}) == Sent()
    (request,) = webhook.received
    assert request.path == SECRET
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["User-Agent"].startswith("tcp-trace/")
    assert request.payload == {"text": "ä <&> \udcff"}


def test_several_messages_arrive_one_by_one(webhook: Webhook) -> None:
    """A channel can be used again after each fate."""
    slack = to_slack(Address(webhook.url))
    webhook.script.append(Reply(500, b"rollup_error"))
    fates = [slack.send(MESSAGE) for _ in range(3)]
    assert fates == [Retry(None, "status 500 rollup_error"), Sent(), Sent()]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_answer_means_the_same_over_the_wire(
    scheme: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each status and body, as a server sends it: none is retried, followed or raised."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    script = [Reply(status, body) for status, body, _ in ANSWERS]
    with Webhook(script, certificate if scheme == "https" else None) as webhook:
        assert webhook.url.startswith(f"{scheme}:")
        slack = to_slack(Address(webhook.url))
        fates = [(status, body, slack.send(MESSAGE)) for status, body, _ in ANSWERS]
        assert len(webhook.received) == len(ANSWERS)
    assert fates == ANSWERS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:00 GMT"}, 0),
        ({"Retry-After": "9" * 400}, MAX_RETRY_AFTER),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_over_the_wire(
    webhook: Webhook, headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds and dates are honoured up to the limit; what is absurd or absent names no time."""
    fate = send(webhook, Reply(429, b"rate_limited", headers))
    assert fate == Retry(seconds, "status 429 rate_limited")


def test_a_date_to_come_is_waited_for(webhook: Webhook) -> None:
    """A date in Retry-After is held against this host's clock."""
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    fate = send(webhook, Reply(503, b"", {"Retry-After": date}))
    assert isinstance(fate, Retry)
    assert fate.after is not None
    assert 540 < fate.after <= 600


def test_a_redirect_is_not_followed(webhook: Webhook) -> None:
    """A redirect carries the message nowhere."""
    with Webhook() as elsewhere:
        fate = send(webhook, Reply(307, b"", {"Location": elsewhere.url}))
        assert isinstance(fate, Rejected)
        assert fate.dead
        assert elsewhere.received == []


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Behaviour.RESET_AT_ONCE, Retry(None, "ConnectionError ECONNRESET")),
        (Behaviour.CUT_BODY_SHORT, None),
        (Behaviour.RESET_BEFORE_BODY, None),
        (Behaviour.RESET_AFTER_BODY, Sent()),
    ],
)
def test_a_connection_that_breaks_is_worth_another_try(
    webhook: Webhook, behaviour: Behaviour, expected: Fate | None
) -> None:
    """Without a complete answer the message may be lost: retry; with one, a reset is no matter."""
    fate = send(webhook, Reply(behaviour=behaviour))
    if expected is None:  # the class's name differs between versions of requests
        assert isinstance(fate, Retry)
    else:
        assert fate == expected


@pytest.mark.parametrize("behaviour", [Behaviour.DRIP_HEAD, Behaviour.DRIP_BODY, Behaviour.HANG])
def test_the_deadline_holds_for_all_of_it(webhook: Webhook, behaviour: Behaviour) -> None:
    """A peer that drips or hangs is cut off in time, and leaves no thread behind."""
    began = time.monotonic()
    reply = Reply(body=b"ok" if behaviour is Behaviour.DRIP_BODY else b"", behaviour=behaviour)
    fate = send(webhook, reply, deadline=0.4)
    assert 0.4 <= time.monotonic() - began < 30.0  # it would go on for a minute
    assert fate == Retry(None, "no complete answer within 0.4 s")
    assert no_posts_running()


def test_a_long_answer_is_not_read_to_its_end(webhook: Webhook) -> None:
    """Only the beginning of a body is read: nobody fills the memory."""
    reply = Reply(404, b"x" * 50_000_000)
    assert send(webhook, reply) == Rejected("status 404", dead=True)


def test_nobody_listening_is_worth_another_try() -> None:
    """A refused connection is told by its errno."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    fate = to_slack(Address(f"http://127.0.0.1:{port}{SECRET}")).send(MESSAGE)
    assert fate == Retry(None, "ConnectionError ECONNREFUSED")


def test_a_name_that_does_not_resolve_is_worth_another_try() -> None:
    """RFC 6761 keeps .invalid free, so the resolver's error is a real one, told by its symbol."""
    fate = to_slack(Address(f"https://hooks.invalid{SECRET}"), deadline=30.0).send(MESSAGE)
    assert isinstance(fate, Retry)
    assert fate.reason in {"ConnectionError EAI_NONAME", "ConnectionError EAI_AGAIN"}


def test_a_resolver_that_hangs_holds_up_one_thread_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Name resolution cannot be cut off: it is left behind, and no second one is started."""
    release = threading.Event()
    calls: list[str] = []

    def hang(host: str, *_: object) -> list[object]:
        calls.append(host)
        release.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    slack = to_slack(Address(f"http://hooks.invalid{SECRET}"), deadline=0.2)
    assert slack.send(MESSAGE) == Retry(None, "no complete answer within 0.2 s")
    second = slack.send(MESSAGE)
    assert second == Retry(None, "the try before is still resolving the host's name")
    assert calls == ["hooks.invalid"]
    release.set()
    assert no_posts_running()


def test_a_name_that_resolves_too_late_sends_nothing(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send that was given up does not deliver behind the outbox's back."""
    release = threading.Event()
    resolve = socket.getaddrinfo

    def late(*arguments: Any) -> object:  # noqa: ANN401 - passed on as they are
        release.wait(10)
        return resolve(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    fate = to_slack(Address(webhook.url), deadline=0.2).send(MESSAGE)
    assert isinstance(fate, Retry)
    release.set()
    assert no_posts_running()
    assert webhook.received == []


@pytest.mark.parametrize("url", ["nonsense://x/SECRET", "http://", "http://a..b/SECRET", "SECRET"])
def test_an_address_that_is_none_is_dead(url: str) -> None:
    """No later try can mend the address."""
    fate = to_slack(Address(url)).send(MESSAGE)
    assert isinstance(fate, Rejected)
    assert fate.dead
    assert "SECRET" not in fate.reason


def test_a_word_that_is_part_of_the_address_is_not_repeated(webhook: Webhook) -> None:
    """A server that echoes the path does not bring it into the log."""
    webhook.script.append(Reply(404, b"hushhush"))
    address = Address(webhook.url.replace(SECRET, "/hooks/hushhush"))
    assert to_slack(address).send(MESSAGE) == Rejected("status 404", dead=True)


def test_requests_is_imported_where_a_webhook_is_set_only() -> None:
    """It costs memory that a service without one does not pay; and no send imports anything."""
    code = (
        "import sys\n"
        "from tcp_trace.service import messages\n"
        "from tests.unit.notify.samples import Address, to_slack\n"
        "print('requests' in sys.modules)\n"
        "slack = to_slack(Address('http://127.0.0.1:1/'))\n"
        "made = set(sys.modules)\n"
        "slack.send({})\n"
        "print('requests' in made, set(sys.modules) - made)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\nTrue set()\n"


def test_no_tables_of_encodings_are_loaded() -> None:
    """With `requests` comes nothing that guesses encodings, and no warning that it is missing."""
    code = (
        "import sys\n"
        "import tcp_trace.notify.transport\n"
        "tables = {'chardet', 'charset_normalizer', 'idna'}\n"
        "print([name for name in sys.modules if name.partition('.')[0] in tables])\n"
        "import requests\n"
        "print(requests.Request('GET', 'http://b\u00fccher.example/').prepare().url)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("[]\nhttp://xn--bcher-kva.example/\n", "")


def test_a_missing_requests_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets SLACK_URL learns at once that a package is missing, not at the first failure."""
    monkeypatch.delitem(sys.modules, "tcp_trace.notify.transport", raising=False)
    monkeypatch.setitem(cast("dict[str, object]", sys.modules), "requests", None)
    with pytest.raises(ModuleNotFoundError, match="apt install python3-requests"):
        to_slack(Address("http://127.0.0.1:1/"))


def test_the_secret_is_in_no_traceback(webhook: Webhook) -> None:
    """Even an error that somebody logs with its traceback shows nothing."""
    from tcp_trace.notify.transport import Post  # noqa: PLC0415 - imports requests

    webhook.script.append(Reply(behaviour=Behaviour.RESET_AT_ONCE))
    with pytest.raises(TransportError) as caught:
        Post(webhook.url, 5.0)(b"{}")
    assert_no_secret("".join(traceback.format_exception(caught.value)))


def assert_no_secret(text: str) -> None:
    """Look for any telling part of the path."""
    for part in ("SECRET", "services/"):
        assert part not in text
