"""Several webhooks: each by itself, and none in the way of another."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.notify.workers import Recipient, Workers
from tests.unit.notify.samples import Address, notification, to_any, to_slack, update
from tests.webhook import Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pytest


FAST = Pacing(rate=1_000.0, burst=10, first_backoff=0.01, longest_backoff=0.05)


def render(each: Notification, _: float | None) -> dict[str, Any]:
    """Make a payload to audit."""
    return {"text": each.id, "id": each.id, "failures": each.failures}


def as_list(each: Notification, _: float | None) -> list[dict[str, Any]]:
    """Make a payload of the kind that can be told many at a time."""
    return [{"id": each.id}] if each.kind is not Phase.QUIET else []


def to(webhook: Webhook, name: str = DEFAULT, deadline: float = 5.0) -> Recipient:
    """Return a recipient as the service makes it."""
    return Recipient(name, webhook.url, to_slack(Address(webhook.url), deadline=deadline), render)


@contextmanager
def running(
    outbox: Outbox, recipients: Iterable[Recipient], pacing: Pacing = FAST
) -> Iterator[Workers]:
    """Run the senders."""
    workers = Workers(outbox, recipients, pacing)
    workers.start()
    try:
        yield workers
    finally:
        workers.stop(5.0)
        outbox.close()


def put(outbox: Outbox, name: str, *webhooks: str) -> None:
    """Put a notification for these webhooks."""
    outbox.commit([notification(name)], lead=lambda _: webhooks)


def ids(webhook: Webhook) -> list[str]:
    """Return what arrived, in order."""
    return [request.payload["id"] for request in webhook.received]


def wait_until_empty(outbox: Outbox, seconds: float = 60.0) -> None:
    """Wait until nothing is pending."""
    until = time.monotonic() + seconds
    while outbox.pending and time.monotonic() < until:
        time.sleep(0.01)


def wait_for_sent(workers: Workers, name: str, count: int) -> None:
    """Wait until so many answers were seen: a little after the message arrived."""
    until = time.monotonic() + 60
    while workers.statistics[name].sent < count and time.monotonic() < until:
        time.sleep(0.01)
    assert workers.statistics[name].sent == count


def test_each_webhook_gets_its_own(tmp_path: Path) -> None:
    """What is led to two of them arrives at both, once each."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as a, Webhook() as b, running(outbox, [to(a), to(b, "b")]):
        put(outbox, "1", DEFAULT)
        put(outbox, "2", "b")
        put(outbox, "3", DEFAULT, "b")
        wait_until_empty(outbox)
        assert (ids(a), ids(b)) == (["1", "3"], ["2", "3"])


def test_pacing_is_per_webhook(tmp_path: Path) -> None:
    """Two webhooks take two messages a second, and none of them more than one."""
    outbox = Outbox(tmp_path / "outbox.db")
    pacing = Pacing(rate=2.0, burst=1)
    with Webhook() as a, Webhook() as b:
        for number in range(4):
            put(outbox, str(number), DEFAULT, "b")
        with running(outbox, [to(a), to(b, "b")], pacing):
            wait_until_empty(outbox)
            for webhook in (a, b):
                times = [request.at for request in webhook.received]
                assert len(times) == 4
                # 1.5 s, less what a busy host delays the first by; one pace for both is 3.5 s.
                assert 0.8 < times[-1] - times[0] < 2.5


def test_what_waits_for_a_webhook_survives_a_restart(tmp_path: Path) -> None:
    """The row names it; where it is gone by then, the default one gets it."""
    outbox = Outbox(tmp_path / "outbox.db")
    put(outbox, "1", "a")
    put(outbox, "2", "gone")
    outbox.commit([update("3", "1")], lead=lambda _: ("gone",))
    outbox.close()
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as default, Webhook() as a, running(outbox, [to(default), to(a, "a")]):
        wait_until_empty(outbox)
        assert (ids(a), ids(default)) == (["1"], ["2", "3"])


def test_a_reload_adds_changes_and_removes_webhooks(tmp_path: Path) -> None:
    """Nothing that waits is lost by it, and a dead one is tried again at once."""
    outbox = Outbox(tmp_path / "outbox.db")
    with (
        Webhook([Reply(404, b"no_service")]) as a,
        Webhook() as b,
        Webhook() as c,
        running(outbox, [to(c), to(a, "a")]) as workers,
    ):
        put(outbox, "1", "a")
        a.wait_for(1)
        workers.replace([to(c), to(a, "a"), to(b, "b")])
        put(outbox, "2", "b")
        wait_until_empty(outbox)
        assert (ids(a), ids(b)) == (["1", "1"], ["2"])
        workers.replace([to(c), to(b, "a")])
        put(outbox, "3", "a")
        put(outbox, "4", "b")
        workers.replace([to(c), to(b, "a")])
        wait_until_empty(outbox)
        assert (ids(a), ids(b), ids(c)) == (["1", "1"], ["2", "3"], ["4"])


def test_what_stands_is_told_again_when_nothing_is_pending(tmp_path: Path) -> None:
    """Many in one message; what fails is dropped until it is given again, and never stored."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(500), Reply(202, b"")]) as webhook:
        channel = to_any(Address(webhook.url))
        with running(outbox, [Recipient(DEFAULT, 1, channel, as_list)]) as workers:
            workers.stand(DEFAULT, [notification("a"), notification("b")])
            webhook.wait_for(1)
            time.sleep(0.3)
            assert len(webhook.received) == 1
            workers.stand(DEFAULT, [notification(str(number)) for number in range(150)])
            sizes = [len(request.payload) for request in webhook.wait_for(3)]
            assert sizes == [2, 100, 50]
            workers.stand(DEFAULT, [notification("q", kind=Phase.QUIET)])
            put(outbox, "x", DEFAULT)
            assert webhook.wait_for(4)[3].payload == [{"id": "x"}]
            wait_for_sent(workers, DEFAULT, 1)
            assert outbox.pending == 0
            statistics = workers.statistics[DEFAULT]
            assert (statistics.resent, statistics.retried, statistics.sent) == (150, 1, 1)


def test_what_stands_and_cannot_be_rendered_costs_itself_only(tmp_path: Path) -> None:
    """It comes from the saved state: the thread must not end, and again after each restart."""

    def broken(each: Notification, delayed_by: float | None) -> list[dict[str, Any]]:
        if each.id == "a":
            raise KeyError("broken")
        return as_list(each, delayed_by)

    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(202, b"")]) as webhook:
        channel = to_any(Address(webhook.url))
        with running(outbox, [Recipient(DEFAULT, 1, channel, broken)]) as workers:
            workers.stand(DEFAULT, [notification("a"), notification("b")])
            (request,) = webhook.wait_for(1)
            assert request.payload == [{"id": "b"}]
            assert workers.statistics[DEFAULT].last_error == "unrenderable: KeyError"


def test_an_alertmanager_that_refuses_is_told_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A status 400 costs that message; a 404 a pause; neither ends the thread."""
    outbox = Outbox(tmp_path / "outbox.db")
    replies = [Reply(400, b'"start time must be before end time"'), Reply(404, b"")]
    with Webhook(replies) as webhook:
        recipient = Recipient("fleet", 1, to_any(Address(webhook.url)), as_list)
        with running(outbox, [to(webhook), recipient]) as workers:
            for count in (1, 2):
                workers.stand("fleet", [notification("a")])
                webhook.wait_for(count)
                time.sleep(0.1)
            workers.stand("fleet", [notification("a")])
            time.sleep(0.2)
            assert len(webhook.received) == 2
    told = [r for r in caplog.records if r.getMessage() == "open alerts could not be resent"]
    assert [record.__dict__["reason"] for record in told] == ["status 400", "status 404"]


def test_stop_drains_all_webhooks_at_the_same_time(tmp_path: Path) -> None:
    """Two that hang cost one drain, not two."""
    outbox = Outbox(tmp_path / "outbox.db")
    hang = Reply(behaviour=Behaviour.HANG)
    with Webhook([hang]) as a, Webhook([hang]) as b, Webhook() as c:
        workers = Workers(outbox, [to(a, deadline=60.0), to(b, "b", 60.0), to(c, "c")], Pacing())
        put(outbox, "1", DEFAULT, "b", "c")
        put(outbox, "2", "c")
        workers.start()
        a.wait_for(1)
        b.wait_for(1)
        began = time.monotonic()
        workers.stop(6.0)
        assert time.monotonic() - began < 11.5
        assert ids(c) == ["1", "2"]
        assert outbox.pending == 2
        outbox.close()


def test_the_database_of_a_version_before_is_taken_over(tmp_path: Path) -> None:
    """Rows of a time with one webhook are for that one: no upgrade loses or doubles them."""
    path = tmp_path / "outbox.db"
    database = sqlite3.connect(path)
    database.executescript(
        """
        CREATE TABLE notification (
            seq INTEGER PRIMARY KEY, body TEXT NOT NULL, created REAL NOT NULL,
            updated REAL NOT NULL
        ) STRICT;
        CREATE TABLE state (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;
        INSERT INTO state VALUES ('incidents', '{"serial": 7}');
        """
    )
    now = time.time()
    for seq, name in enumerate("abc", 5):
        body = json.dumps(notification(name).to_dict())
        database.execute("INSERT INTO notification VALUES (?, ?, ?, ?)", (seq, body, now, now))
    database.commit()
    database.close()

    outbox = Outbox(path)
    assert outbox.degraded is None
    assert outbox.load_state() == {"serial": 7}
    put(outbox, "d", "a")
    outbox.close()
    database = sqlite3.connect(path)
    rows = database.execute("SELECT webhook, body FROM notification ORDER BY seq").fetchall()
    assert database.execute("PRAGMA user_version").fetchone() == (2,)
    database.close()
    assert [(webhook, json.loads(body)["id"]) for webhook, body in rows] == [
        (DEFAULT, "a"),
        (DEFAULT, "b"),
        (DEFAULT, "c"),
        ("a", "d"),
    ]
    assert list(tmp_path.glob("*.spoilt*")) == []
