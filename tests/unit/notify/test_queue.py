"""Order, merging and bounds of what is pending."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.events import Moment
from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.notify.queue import BLAMED_AFTER, Limits, Pending, Queue
from tests.unit.notify.samples import notification, update

NOW = Moment(1_000.0, 1_700_000_000.0)


def queue_of(*notifications: Notification, limits: Limits | None = None) -> Queue:
    """Return a queue into which these were put."""
    queue = Queue(limits or Limits())
    for each in notifications:
        queue.add(each, NOW)
    return queue


def take(queue: Queue) -> Pending:
    """Take the next row as the outbox does."""
    row = queue.head()
    assert row is not None
    row.in_flight = True
    row.attempts += 1
    return row


def drain(queue: Queue) -> list[str]:
    """Take and remove all; return their ids."""
    ids = []
    while len(queue):
        row = take(queue)
        ids.append(row.notification.id)
        queue.remove(row)
    return ids


def test_the_oldest_leaves_first() -> None:
    """Different incidents leave in the order in which they were put."""
    assert drain(queue_of(notification("a"), notification("b"), notification("c"))) == list("abc")


def test_one_incident_is_one_row_however_much_happens() -> None:
    """Pending messages of one incident become one that counts them all."""
    queue = queue_of(notification("a", "i"), *(update(f"u{n}", "i") for n in range(1_000)))
    assert len(queue) == 1
    row = take(queue)
    assert row.notification.failures == 1_001
    assert json.loads(row.body)["failures"] == 1_001


def test_what_is_being_sent_takes_nothing_in() -> None:
    """A message in flight stays as it is: what comes meanwhile waits behind it."""
    queue = queue_of(notification("a", "i"))
    row = take(queue)
    queue.add(update("b", "i", 5), NOW)
    assert (len(queue), row.notification.failures) == (2, 1)
    assert queue.head() is None
    queue.remove(row)
    assert take(queue).notification.id == "b"


def test_what_comes_back_takes_in_what_came_meanwhile() -> None:
    """After a failed try there is one row for the incident again."""
    queue = queue_of(notification("a", "i"))
    row = take(queue)
    queue.add(update("b", "i", 5), NOW)
    queue.add(update("c", "i", 7), NOW)
    queue.release(row)
    assert len(queue) == 1
    assert take(queue).notification.failures == 13


def test_what_does_not_merge_keeps_its_order() -> None:
    """A resolved incident that opens again is told as two messages, in order."""
    queue = queue_of(
        notification("a", "i", Phase.RESOLVED), notification("b", "i"), notification("c", "j")
    )
    assert drain(queue) == ["a", "b", "c"]


def test_a_message_that_is_choked_on_holds_up_nobody() -> None:
    """It goes behind the others, except within its incident, however many of them there are."""
    queue = queue_of(
        notification("a1", "a", Phase.RESOLVED), notification("a2", "a"), notification("b")
    )
    for _ in range(BLAMED_AFTER):
        row = take(queue)
        assert row.notification.id == "a1"
        queue.release(row)
    queue.deliver(take(queue))
    queue.add(notification("c"), NOW)
    assert drain(queue) == ["c", "a1", "a2"]


@pytest.mark.parametrize("failures", range(20))
def test_after_an_outage_messages_leave_in_their_order(failures: int) -> None:
    """At the worst, the one that found the webhook back is one place early."""
    queue = queue_of(*map(notification, "abcd"))
    for _ in range(failures):
        queue.release(take(queue))
    sent = []
    while len(queue):
        row = take(queue)
        sent.append(row.notification.id)
        queue.deliver(row)
    is_probe = failures % (BLAMED_AFTER + 1) == BLAMED_AFTER and failures > BLAMED_AFTER
    assert sent == list("bacd" if is_probe else "abcd") or failures == BLAMED_AFTER


def test_an_outage_ends_for_one_webhook_alone() -> None:
    """What another webhook chokes on stays behind there."""
    queue = Queue(Limits())
    for name in "abc":
        queue.add(notification(name), NOW, "other")
    for _ in range(BLAMED_AFTER):
        row = queue.head("other")
        assert row is not None
        queue.release(row)
    queue.add(notification("d"), NOW)
    queue.add(notification("e"), NOW)
    for _ in range(BLAMED_AFTER + 1):
        queue.release(take(queue))
    queue.deliver(take(queue))
    row = queue.head("other")
    assert row is not None
    assert row.notification.id == "b"


def test_over_a_bound_the_oldest_goes() -> None:
    """Rows are bounded, and what is pushed out is named with its reason."""
    queue = queue_of(*map(notification, "abc"), limits=Limits(rows=3))
    in_flight = take(queue)
    (dropped,) = queue.add(notification("d"), NOW)
    assert (dropped.notification.id, dropped.reason) == ("b", "rows")
    queue.remove(in_flight)
    assert drain(queue) == ["c", "d"]


def test_bytes_are_bounded() -> None:
    """The JSON of all rows stays within the limit; one over it alone pushes out nobody else."""
    size = len(take(queue_of(notification("a"))).body)
    queue = queue_of(notification("a"), limits=Limits(size=2 * size + 5))
    assert queue.add(notification("b"), NOW) == []
    assert [each.notification.id for each in queue.add(notification("c"), NOW)] == ["a"]
    assert sum(len(row.body) for row in queue.rows()) == 2 * size
    (dropped,) = queue.add(notification("x" * 10_000), NOW)
    assert (dropped.notification.id[0], dropped.reason) == ("x", "bytes")
    assert drain(queue) == ["b", "c"]


def test_age_counts_from_the_last_change() -> None:
    """A row that nothing was added to for too long goes, a merged one starts anew."""
    queue = queue_of(notification("a", "i"), notification("b", "j"), limits=Limits(age=100.0))
    queue.add(update("u", "i"), Moment(NOW.mono + 80, NOW.wall))
    assert queue.expire(Moment(NOW.mono + 100, NOW.wall)) == []
    dropped = queue.expire(Moment(NOW.mono + 101, NOW.wall))
    assert [(each.notification.id, each.reason) for each in dropped] == [("b", "age")]
    assert queue.rows()[0].created == NOW


def test_adopted_rows_come_before_those_already_here() -> None:
    """A disk that is readable late brings older messages, which leave first."""
    earlier, queue = queue_of(notification("a"), notification("b")), queue_of(notification("c"))
    in_flight = take(queue)
    assert queue.adopt(earlier.rows()) == []
    assert drain_ids(queue) == ["a", "b", "c"]
    queue.add(notification("d"), NOW)
    queue.remove(in_flight)
    assert drain(queue) == ["a", "b", "d"]


def drain_ids(queue: Queue) -> list[str]:
    """Return the ids in order of their numbers, which all differ."""
    rows = sorted(queue.rows(), key=lambda row: row.seq)
    assert len({row.seq for row in rows}) == len(rows)
    return [row.notification.id for row in rows]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.sampled_from(Phase)),
        st.tuples(st.sampled_from(["take", "sent", "retry"]), st.just(0), st.just(Phase.OPENED)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_counts_add_up_and_order_holds(
    steps: list[tuple[str, int, Phase]],
) -> None:
    """Over any history no failure is lost or told twice, and incidents are told in order."""
    queue, in_flight, put, sent = Queue(Limits()), None, Counter[str](), list[Notification]()
    for number, (step, which, kind) in enumerate(steps):
        if step == "put":
            queue.add(notification(f"{number:04}", str(which), kind, number), NOW)
            put[str(which)] += number
        elif step == "take" and in_flight is None and queue.head():
            in_flight = take(queue)
        elif step == "sent" and in_flight:
            queue.remove(in_flight)
            sent.append(in_flight.notification)
            in_flight = None
        elif step == "retry" and in_flight:
            queue.release(in_flight)
            in_flight = None
    if in_flight:
        queue.release(in_flight)
    while queue.head():
        row = take(queue)
        queue.remove(row)
        sent.append(row.notification)
    assert len(queue) == 0
    told = Counter[str]()
    for each in sent:
        told[each.incident] += each.failures
    assert +told == +put
    for incident in put:
        ids = [each.id for each in sent if each.incident == incident]
        assert all(earlier < later for earlier, later in pairwise(ids))
