"""From a promise to people: committed, led, sent, and taken up again after a restart."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.connects.events import Moment
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.policy import Policy
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.receivers.plainjson import json_payload
from tcp_trace.service.messages import STAND_INTERVAL, Messages
from tcp_trace.settings import config
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import DATABASE, World
from tests.unit.notify.golden import OPENED, RESOLVED, UPDATED
from tests.webhook import Reply, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.settings.config import Settings

FAST = Pacing(rate=1_000.0, burst=10, first_backoff=0.01, longest_backoff=0.05)
NOTHING = Incidents(Policy()).dump(Moment(0.0, 0.0))


def settings(folder: Path, slack: Webhook, fleet: Webhook, generic: Webhook) -> Settings:
    """Return settings with a webhook of each type; databases' failures go to all three."""
    path = folder / "routes.toml"
    path.touch(0o600)
    path.write_text(
        f"""
        [webhook.fleet]
        type = "alertmanager"
        url = "http://127.0.0.1:{fleet.port}"
        [webhook.generic]
        type = "json"
        url = "{generic.url}"
        [[route]]
        to = ["default", "fleet", "generic"]
        destinations = ["10.0.0.0/8:5432"]
        """
    )
    environ = {
        "SLACK_URL": slack.url,
        "ROUTES_FILE": str(path),
        "STATE_DIR": str(folder),
        "HOST_NAME": "web-1",
    }
    return config.load(environ, None)


@contextmanager
def running(given: Settings) -> Iterator[Messages]:
    """Run what is between the incidents and people."""
    messages = Messages(given, FAST)
    messages.restore()
    messages.start()
    try:
        yield messages
    finally:
        messages.stop(5.0)


@pytest.fixture
def webhooks() -> Iterator[tuple[Webhook, Webhook, Webhook]]:
    """Return Slack, an Alertmanager (status 200 and no body), and one of another make."""
    with Webhook() as slack, Webhook() as fleet, Webhook() as generic:
        fleet.default = Reply(200, b"")
        generic.default = Reply(200, b"accepted")
        yield slack, fleet, generic


def alerts(webhook: Webhook, count: int) -> list[list[dict[str, Any]]]:
    """Return the bodies of so many posts to Alertmanager's API."""
    received = webhook.wait_for(count)
    assert {request.path for request in received} == {"/api/v2/alerts"}
    return [request.payload for request in received]


def test_each_type_of_webhook_gets_its_own_message(
    tmp_path: Path, webhooks: tuple[Webhook, Webhook, Webhook]
) -> None:
    """Slack's blocks, the documented JSON, and alerts; other destinations go to Slack alone."""
    slack, fleet, generic = webhooks
    with running(settings(tmp_path, *webhooks)) as messages:
        elsewhere = replace(OPENED, incident="other", subject=DATABASE._replace(port=80))
        messages.commit([OPENED, elsewhere], NOTHING)
        assert len(slack.wait_for(2)) == 2
        assert "blocks" in slack.received[0].payload
        (told,) = generic.wait_for(1)
        assert told.payload == json.loads(json.dumps(json_payload(OPENED, "web-1")))
        ((alert,),) = alerts(fleet, 1)
        assert alert["labels"]["host"] == "web-1"
        messages.commit([RESOLVED], NOTHING)
        alerts(fleet, 2)
    assert messages.outbox.drops == {}
    assert messages.outbox.pending == 0
    assert (len(slack.received), len(fleet.received), len(generic.received)) == (3, 2, 2)
    assert all("endsAt" in alert for alert in fleet.received[1].payload)


def test_alertmanager_is_told_again_while_it_stands(
    tmp_path: Path, webhooks: tuple[Webhook, Webhook, Webhook]
) -> None:
    """Once a minute, past the outbox, and after a restart too; not after the end."""
    slack, fleet, _ = webhooks
    given = settings(tmp_path, *webhooks)
    now = Moment(1_000.0, 1_000.0)
    with running(given) as messages:
        messages.commit([OPENED], NOTHING)
        alerts(fleet, 1)
        messages.keep_house(now)
        alerts(fleet, 2)
        messages.keep_house(Moment(now.mono + STAND_INTERVAL - 1, 0.0))
        time.sleep(0.2)
        messages.keep_house(Moment(now.mono + STAND_INTERVAL, 0.0))
        told = alerts(fleet, 3)
        assert told[0][0]["labels"] == told[1][0]["labels"] == told[2][0]["labels"]
        assert messages.outbox.pending == 0
        world = World()
        world.fail()
        open_incident = world.incidents.dump(world.now)
        open_incident["incidents"][0]["incident"] = OPENED.incident
        update = replace(UPDATED, severity=OPENED.severity, causes=OPENED.causes)
        messages.commit([update], open_incident)
        alerts(fleet, 4)
    with running(given) as messages:
        messages.keep_house(now)
        assert alerts(fleet, 5)[4][0]["labels"] == told[0][0]["labels"]
        messages.commit([RESOLVED], NOTHING)
        alerts(fleet, 6)
        messages.keep_house(Moment(now.mono + STAND_INTERVAL, 0.0))
        time.sleep(0.3)
        assert len(fleet.received) == 6
    assert len(slack.received) == 3


def test_what_ended_while_the_service_was_away_does_not_stand(
    tmp_path: Path, webhooks: tuple[Webhook, Webhook, Webhook]
) -> None:
    """The saved incidents say what is open; the saved alerts do not."""
    given = settings(tmp_path, *webhooks)
    with running(given) as messages:
        messages.commit([OPENED], NOTHING)
        alerts(webhooks[1], 1)
    with running(given) as messages:
        messages.keep_house(Moment(1_000.0, 1_000.0))
        time.sleep(0.3)
    assert len(webhooks[1].received) == 1


def test_what_was_silenced_until_now_is_led_like_any_other(
    tmp_path: Path, webhooks: tuple[Webhook, Webhook, Webhook]
) -> None:
    """An incident that is told first after a restart goes where its route says."""
    given = settings(tmp_path, *webhooks)
    world = World()
    begins = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match("all"), begins, begins + 10)])
    world.fail()
    earlier = Messages(given, FAST)
    earlier.commit([], world.incidents.dump(world.now))
    earlier.stop(0.0)
    world.wait(11)
    with running(given) as messages:
        messages.commit(world.fail(), world.incidents.dump(world.now))
        (told,) = webhooks[2].wait_for(1)
    assert told.payload["notification"]["silenced"] == 1


@pytest.mark.parametrize("key", ["standing", "incidents"])
def test_a_damaged_state_costs_where_it_was_told_only(
    tmp_path: Path,
    webhooks: tuple[Webhook, Webhook, Webhook],
    caplog: pytest.LogCaptureFixture,
    key: str,
) -> None:
    """It is told, and the service goes on."""
    given = settings(tmp_path, *webhooks)
    messages = Messages(given, FAST)
    messages.outbox.commit([], {**NOTHING, "routes": {}, "standing": [], key: 3})
    messages.stop(0.0)
    with caplog.at_level(logging.ERROR), running(given) as messages:
        messages.commit([OPENED], NOTHING)
        alerts(webhooks[1], 1)
    assert "saved routing is unreadable" in caplog.text


def test_a_changed_configuration_is_used_at_once(
    tmp_path: Path, webhooks: tuple[Webhook, Webhook, Webhook]
) -> None:
    """A webhook that is gone leaves nothing behind; open incidents are led anew."""
    slack, fleet, generic = webhooks
    given = settings(tmp_path, *webhooks)
    with running(given) as messages:
        messages.commit([OPENED], NOTHING)
        alerts(fleet, 1)
        generic.wait_for(1)
        slack.wait_for(1)
        messages.apply(replace(given, webhooks=(), routes=(), host_name="web-2"))
        messages.commit([UPDATED], NOTHING)
        assert "web-2" in slack.wait_for(2)[1].payload["text"]
        assert set(messages.statistics) == {"default"}
    assert (len(fleet.received), len(generic.received)) == (1, 1)


def test_a_second_instance_sends_nothing(
    webhooks: tuple[Webhook, Webhook, Webhook], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has the same STATE_DIR: what it would have sent is in its log, and in no outbox."""
    caplog.set_level(logging.WARNING)
    given = settings(tmp_path, *webhooks)
    with running(given) as first, running(given) as second:
        second.commit([OPENED], NOTHING)
        until = time.monotonic() + 5
        while len(texts := logged(caplog)) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert "WARNING: 10.0.0.5:5432: 1 connect failed" in str(texts)
        second.keep_house(Moment(time.monotonic() + 1_000, 0.0))  # nor to those who forget
        assert (first.outbox.pending, second.outbox.pending) == (0, 0)
        first.commit([OPENED], NOTHING)
        assert all(len(each.wait_for(1)) == 1 for each in webhooks)
    assert [len(each.received) for each in webhooks] == [1, 1, 1]


def logged(caplog: pytest.LogCaptureFixture) -> list[object]:
    """Return the texts of messages that were logged for want of a webhook."""
    return [vars(each)["text"] for each in caplog.records if each.message == "notification"]
