"""What is shown, to the letter, and that nobody who names a process can change it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from typing import Any
from unicodedata import bidirectional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.notification import (
    Background,
    CauseCount,
    Condition,
    Notification,
    Phase,
    ProcessCount,
    State,
    SubjectCount,
)
from tcp_trace.notify.receivers.plainjson import json_payload
from tcp_trace.notify.receivers.slack import _section, slack_payload
from tcp_trace.safetext import code, visible
from tests.unit.notify.golden import (
    HOST,
    OPENED,
    PSQL,
    SAMPLES,
    STORM_RESOLVED,
    golden_file,
    rendered,
)

# What Slack treats specially: an entity, a date or the runbook is fine, anything else is not.
_ENTITY_OR_DATE = re.compile(
    r"&(amp|lt|gt);|<!date\^\d+\^[^<>|]*\|[^<>|]*>|<https://a\.example/[!-;=?A-~]*>"
)
_DANGEROUS = [
    "<!channel>",
    "<@U123>",
    "@channel @here",
    "a`b``c```d",
    "a\nid fake-1",
    "\r\x1b[31m\x00",
    "\u202egnp.exe",
    "\u2066\u2069\u200b",
    "\u05d0\u05d1 1",
    "e\u0301\u0301\u0301\u0301",
    "&amp;&lt;",
    "&&&&&&&&&&&&&&&",
    "*b* _i_ ~s~ :x:",
    "[a](http://b.c)",
    "\udc80\udcff",
    "",
    " ",
    "\u3164",
]


def strings(payload: object) -> list[str]:
    """Return every text that is shown of a payload."""
    if isinstance(payload, str):
        return [payload]
    if isinstance(payload, dict):
        return [s for key, value in payload.items() if key != "type" for s in strings(value)]
    return [s for value in payload for s in strings(value)] if isinstance(payload, list) else []


def within_limits(payload: dict[str, Any]) -> bool:
    """Return whether Slack takes a payload of this size."""
    blocks = payload["blocks"]
    fields = [field for block in blocks for field in block.get("fields", [])]
    return (
        len(blocks) <= 50
        and len(fields) <= 10
        and len(blocks[0]["text"]["text"]) <= 150
        and all(len(block["text"]["text"]) <= 3000 for block in blocks if "text" in block)
        and all(0 < len(field["text"]) <= 2000 for field in fields)
        and len(json.dumps(blocks, ensure_ascii=False)) < 12_000
        and 0 < len(payload["text"]) <= 40_000
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_golden(name: str) -> None:
    """Every kind of message is shown exactly as it was read and found good."""
    assert rendered(name) == golden_file(name).read_text(encoding="utf-8"), (
        "what is shown has changed; if on purpose: python3 -m tests.unit.notify.golden"
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_all_kinds_are_within_limits(name: str) -> None:
    """Every kind of message is within Slack's limits."""
    notification, delayed_by = SAMPLES[name]
    assert within_limits(slack_payload(notification, HOST, delayed_by=delayed_by))


@pytest.mark.parametrize("comm", _DANGEROUS)
def test_a_process_name_cannot_ping_or_spoof(comm: str) -> None:
    """Whatever a process is called, its name stays in one code span on one line."""
    expected = slack_payload(OPENED, HOST)
    payload = slack_payload(replace(OPENED, processes=(PSQL._replace(comm=comm),)), HOST)
    for harmless, shown in zip(strings(expected), strings(payload), strict=True):
        before, _, after = harmless.partition("`psql`")
        assert shown.startswith(before)
        assert shown.endswith(after)
        assert_safe(shown)


# Neither written from right to left nor turning what follows (Unicode's report 9, table 4).
_LEFT_TO_RIGHT = {"L", "EN", "ES", "ET", "CS", "ON", "WS", "B"}
_IN_ISOLATE = _LEFT_TO_RIGHT | {"R", "AL", "AN", "NSM"}
_ISOLATE = re.compile("\u2068([^\u2068\u2069]*)\u2069")


def outside_isolates(shown: str) -> str:
    """Return what stands beside isolates, having looked at what is in them."""
    for inside in _ISOLATE.findall(shown):
        assert {bidirectional(character) for character in inside} <= _IN_ISOLATE
    return _ISOLATE.sub("", shown)


def test_no_character_turns_the_text_around() -> None:
    """Whichever character stands in a name, what stands beside it reads from left to right.

    That is sure where all that runs from right to left is in an isolate, and nothing in it ends
    the isolate or opens another.
    """
    plain = frozenset(map(chr, range(0x20, 0x7F)))  # what nearly all characters are escaped as
    allowed = {*_LEFT_TO_RIGHT, "NSM"} - {"B"}
    assert set(map(bidirectional, plain)) <= allowed
    for number in range(sys.maxunicode + 1):
        for name in (f"a{chr(number)}b", f"{chr(number)} 12"):
            shown = code(name, 40)
            assert shown[0] == shown[-1] == "`"
            if not plain.issuperset(shown):
                assert set(map(bidirectional, outside_isolates(shown))) <= allowed


def assert_safe(shown: str) -> None:
    """Fail for a text in which a name that others chose could do anything."""
    assert not re.search(r"[&<>]", _ENTITY_OR_DATE.sub("", shown))
    assert shown.count("`") % 2 == 0
    outside = re.sub(r"`[^`\n]*`", "", shown)
    assert "@" not in outside
    beside = outside_isolates(shown)
    assert all(bidirectional(character) in {*_LEFT_TO_RIGHT, "NSM"} for character in beside)
    text = re.sub("[\u2068\u2069\n]", "", shown)
    assert text.isprintable()
    assert visible(text) == text
    shown.encode()


_names = st.text(max_size=15) | st.sampled_from(_DANGEROUS)
_counts = st.integers(0, 10**12)
_destinations = st.builds(Destination, st.text(max_size=60), st.integers(0, 65535), _counts)
_known = st.none() | _names | _names.map("docker://{}".format) | _names.map("{}://a".format)
_processes = st.builds(
    ProcessCount, _names, _counts, _counts, _counts, st.booleans(), _counts,
    *[_known] * 4,
)  # fmt: skip
_elapsed = st.none() | st.floats(0, 1e9)
_causes = st.builds(
    CauseCount,
    st.sampled_from(Reason),
    _counts,
    st.builds(Evidence, st.integers(0, 133), _elapsed, st.integers(1, 9)),
)
_top = st.builds(SubjectCount, _destinations, _counts, st.none() | st.sampled_from(Condition))
_notifications = st.builds(
    replace,
    st.sampled_from([OPENED, STORM_RESOLVED]),
    kind=st.sampled_from(Phase),
    opening=st.booleans(),
    failures=_counts,
    total=st.integers(1, 10**12),
    first=st.floats(),
    last=st.floats(),
    duration=st.floats(0, 1e12),
    causes=st.lists(_causes, max_size=9).map(tuple),
    processes=st.lists(_processes, max_size=5).map(tuple),
    unlisted=_counts,
    established=st.none() | _counts,
    kinds=_counts.map(lambda count: (("destination", count),)),
    untracked=_counts,
    top=st.lists(_top, max_size=10).map(tuple),
    absorbed=st.lists(st.just("abcdefgh"), max_size=20).map(tuple),
    state=st.sampled_from(State),
    background=st.none() | st.builds(Background, *[st.none() | st.floats(0, 1e12)] * 3),
    addresses=st.lists(_names, max_size=9).map(tuple),
    reminders=_counts,
    working=_counts,
    silenced=_counts,
    runbook=st.just("") | _names.map("https://a.example/{}".format),
)


@given(_notifications, _names | st.text(), st.none() | st.floats(0, 1e9))
def test_anything_is_shown_within_limits(
    notification: Notification, host: str, delayed_by: float | None
) -> None:
    """No notification whatsoever fails to be shown, breaks a limit, or lets a name do anything."""
    payload = slack_payload(notification, host, delayed_by=delayed_by)
    assert within_limits(payload)
    for shown in strings(payload):
        assert not re.search(r"[&<>]", _ENTITY_OR_DATE.sub("", shown))
        assert re.sub("[\u2068\u2069\u200c\u200d\n]", "", shown).isprintable()
    assert_safe(slack_payload(notification, HOST, delayed_by=delayed_by)["text"])
    json.dumps(json_payload(notification, host, delayed_by=delayed_by))


def test_what_is_too_long_is_cut() -> None:
    """Header and sections end in an ellipsis where they would be too long for Slack."""
    endless = replace(OPENED, subject=Destination("&" * 500, 443))
    payload = slack_payload(endless, HOST)
    assert within_limits(payload)
    assert payload["blocks"][0]["text"]["text"].endswith("&amp;…")
    section = _section(["a" * 2000, "b" * 2000])
    assert section["text"]["text"] == "a" * 2000 + "\n…"


def test_json_says_it_without_escapes() -> None:
    """The generic JSON carries the notification itself, and a text that needs no unescaping."""
    hostile = replace(OPENED, processes=(PSQL._replace(comm="<a&b>"),))
    payload = json.loads(json.dumps(json_payload(hostile, "h&h")))
    assert payload["version"] == 2
    assert payload["host"] == "h&h"
    assert "<a&b>" in payload["text"]
    assert payload["notification"]["processes"][0]["comm"] == "<a&b>"
