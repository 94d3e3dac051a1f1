"""Who is woken by a message, when, and that nobody else ever is."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.incidents.merging import merge
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.notify.receivers.slack import slack_payload
from tests.unit.incidents.incident_world import World, destination
from tests.unit.notify.golden import HOST, OPENED, PSQL, RESOLVED, STORM_OPENED, UPDATED


def test_a_mention_wakes_once_per_incident() -> None:
    """Those to wake are mentioned by the first message that says critical, and by no other."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed(times=5)
    for _ in range(120):
        world.fail(times=6)
        world.wait(10)
    world.succeed()
    world.wait(200)
    assert world.told[0].severity is Severity.WARNING
    assert world.told[-1].kind is Phase.RESOLVED
    critical = [n.severity is Severity.CRITICAL for n in world.told]
    assert sum(critical) > 1
    payloads = [json.dumps(slack_payload(n, HOST, mention="<!here>")) for n in world.told]
    mentions = [payload.count("<!here>") for payload in payloads]
    assert sum(mentions) == mentions[critical.index(True)] == 2


def test_a_mention_is_where_slack_and_others_look() -> None:
    """The mention begins the text, for Mattermost, and stands in a block, for Slack."""
    payload = slack_payload(replace(STORM_OPENED, escalated=True), HOST, mention="<!subteam^S123>")
    assert payload["text"].startswith("<!subteam^S123>\n")
    assert payload["blocks"][1]["text"]["text"].startswith("<!subteam^S123>\n")


def test_a_merged_message_wakes_unless_it_is_over() -> None:
    """What became critical while messages waited wakes people late; what is over never does."""
    opened = replace(OPENED, escalated=True, silenced=1)
    updated = merge(opened, replace(UPDATED, silenced=7))
    assert updated is not None
    assert (updated.escalated, updated.silenced) == (True, 8)
    resolved = merge(updated, RESOLVED)
    assert resolved is not None
    assert not resolved.escalated


def test_what_is_over_wakes_nobody() -> None:
    """Five failures within a second are over before anybody could look."""
    world = World()
    world.fail(times=5)
    world.mono += 1
    world.succeed()
    told = world.wait(200)
    assert [n.kind for n in told] == [Phase.RESOLVED]
    assert not told[0].escalated


def test_each_that_is_critical_wakes() -> None:
    """A digest mentions people, and so does each critical incident beside it, once."""
    world = World(after=3)
    for number in range(30):
        world.fail(destination(number), times=3)
    world.wait(5)
    assert [n.is_digest for n in world.told if n.escalated] == [False] * 4 + [True]


def test_what_was_silenced_is_shown() -> None:
    """A message says how many of its failures a silence kept from people."""
    payload = slack_payload(replace(UPDATED, silenced=1000), HOST)
    assert "While silenced: 1,000 failures" in payload["text"]
    assert "\n*While silenced:* 1,000 failures\n" in payload["blocks"][2]["text"]["text"]


@given(st.text(), st.text())
def test_nobody_but_the_configured_is_ever_mentioned(comm: str, host: str) -> None:
    """Whatever a process or a host is called, only the configured mention is markup."""
    process = PSQL._replace(comm=f"<!channel> {comm}", unit=f"<@U1>{comm}")
    opened = replace(OPENED, escalated=True, processes=(process,))
    rendered = json.dumps(slack_payload(opened, f"<!here> {host}", mention="<!subteam^S1>"))
    markup = re.findall(r"<[!@#][a-z]*\^?", rendered)
    assert set(markup) == {"<!subteam^", "<!date^"}
    assert markup.count("<!subteam^") == 2
