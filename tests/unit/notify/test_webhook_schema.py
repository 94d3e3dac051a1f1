"""The documented JSON: every message fits its schema, and has no field that it does not name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.notify.receivers.plainjson import JSON_VERSION, json_payload
from tests.unit.notify.golden import HOST, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[3] / "docs/WEBHOOK.md"
SCHEMA: dict[str, Any] = json.loads(PAGE.with_name("webhook.schema.json").read_text())
DEFINITIONS = SCHEMA["$defs"]
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def misfits(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:  # noqa: ANN401
    """Return where a value does not fit, by the part of JSON Schema that is used there."""
    if "$ref" in schema:
        schema = DEFINITIONS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        choices = [misfits(value, choice, path) for choice in schema["anyOf"]]
        return choices[0] if all(choices) else []
    wrong = [f"{path}: {keyword}" for keyword, fits in KEYWORDS.items() if not fits(value, schema)]
    if isinstance(value, dict) and schema:
        others = schema.get("additionalProperties")  # where it says nothing, all are named
        named = schema.get("properties", {})
        wrong += [f"{path}: no {name}" for name in schema.get("required", ()) if name not in value]
        wrong += [f"{path}: unknown {name}" for name in value if name not in named and not others]
        for name, each in value.items():
            which = named.get(name, others if isinstance(others, dict) else {})
            wrong += misfits(each, which, f"{path}.{name}")
    if isinstance(value, list):
        for number, each in enumerate(value):
            wrong += misfits(each, schema.get("items", {}), f"{path}[{number}]")
    return wrong


def fits_type(value: Any, schema: dict[str, Any]) -> bool:  # noqa: ANN401
    """Tell whether a value has one of the types; true and false are no numbers."""
    if "type" not in schema:
        return True
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return any(
        isinstance(value, TYPES[name]) and (name == "boolean") == isinstance(value, bool)
        for name in names
    )


KEYWORDS: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "type": fits_type,
    "const": lambda value, schema: value == schema.get("const", value),
    "enum": lambda value, schema: value in schema.get("enum", [value]),
    "minimum": lambda value, schema: "minimum" not in schema or (value or 0) >= schema["minimum"],
    "maximum": lambda value, schema: "maximum" not in schema or (value or 0) <= schema["maximum"],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_message_fits_the_schema(name: str) -> None:
    """Whoever wrote a consumer by the schema is not surprised."""
    notification, delayed_by = SAMPLES[name]
    payload = json.loads(json.dumps(json_payload(notification, HOST, delayed_by=delayed_by)))
    assert misfits(payload, SCHEMA) == []


def test_the_check_finds_what_does_not_fit() -> None:
    """A check that finds nothing would prove nothing."""
    notification, _ = SAMPLES["storm_resolved"]
    payload: dict[str, Any] = json.loads(json.dumps(json_payload(notification, HOST)))
    payload["version"] = 1
    del payload["host"]
    payload["notification"]["kind"] = "started"
    payload["notification"]["top"][0]["failures"] = True
    payload["notification"]["more"] = 1
    payload["ratio"] = 1.5
    assert misfits(payload, SCHEMA) == [
        ": no host",
        ".version: const",
        ".ratio: maximum",
        ".notification: unknown more",
        ".notification.kind: enum",
        ".notification.top[0].failures: type",
    ]


def test_the_schema_names_all_that_there_is() -> None:
    """Kinds, severities and reasons are those of the code; the page names every field."""
    properties = DEFINITIONS["notification"]["properties"]
    assert properties["kind"]["enum"] == [kind.value for kind in Phase]
    assert properties["severity"]["enum"] == [severity.value for severity in Severity]
    reasons = DEFINITIONS["reason"]["properties"]["reason"]["examples"]
    assert reasons == [reason.value for reason in Reason]
    assert SCHEMA["properties"]["version"]["const"] == JSON_VERSION
    page = PAGE.read_text()
    assert all(f"| `{name}` |" in page for name in SCHEMA["properties"])
