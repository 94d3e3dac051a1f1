"""The registry of what can fail: the only place that knows the kinds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tcp_trace.incidents.topics import TOPICS, cause_of, subject_of
from tests.unit.incidents.incident_world import DATABASE
from tests.unit.incidents.overflow_world import TOPIC, Listener

PACKAGE = Path(__file__).parents[3] / "tcp_trace"


def test_no_other_module_names_a_kind() -> None:
    """What a destination is, only its topic knows, and what has to say what version 1 said."""
    own = {"Destination", "Reason", "Failure", "Counters", "Evidence"}
    found = {
        path.name
        for room in ("incidents", "silences", "notify")
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tcp_trace.connects.")
        if own & {name.name for name in node.names}
    }
    assert found == {"topics.py", "plainjson.py"}


def test_fields_added_later_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state from before a subject had all of its fields is read."""
    monkeypatch.setitem(TOPICS, "listener", TOPIC)
    assert subject_of(["10.0.0.5", 80, 7, "listener"]) == Listener("10.0.0.5", 80, 7)
    assert subject_of(list(Listener("10.0.0.5", 80, 7))) == Listener("10.0.0.5", 80, 7)


@pytest.mark.parametrize("kind", TOPICS)
def test_every_kind_keeps_to_the_contract(kind: str) -> None:
    """Its causes and evidence say of what they are, and can be made again from what was saved."""
    topic = TOPICS[kind]
    evidence = topic.evidence()
    assert topic.evidence(**evidence._asdict()) == evidence
    for member in topic.causes:
        cause = cause_of(kind, member.value)
        assert cause.value == member.value
        assert TOPICS[cause.kind].causes is topic.causes
        assert cause.summary
        assert cause.check_first
        for in_full in (True, False):
            assert cause.summary in cause.describe(evidence, in_full=in_full)


def test_a_destination_is_of_its_kind() -> None:
    """By default and as the last of its fields."""
    assert DATABASE._fields[-1] == "kind"
    assert TOPICS[DATABASE.kind].subject(*DATABASE[:-1]) == DATABASE
