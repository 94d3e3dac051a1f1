"""Whatever the configuration accepts can be shown, and whatever it refuses is one sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tcp_trace.notify.receivers.alertmanager import Alerts
from tcp_trace.notify.receivers.plainjson import json_payload
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.receivers.slack import slack_payload
from tcp_trace.settings import config
from tcp_trace.settings.variables import VARIABLES
from tests.unit.notify.golden import SAMPLES

# As the environment can hold it: bytes that are no UTF-8 are lone surrogates, and no NUL.
_ANYTHING = st.binary(max_size=300).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
) | st.text(max_size=300).filter(lambda text: "\0" not in text)
_LIKELY = st.lists(
    st.sampled_from(
        [
            *("10.0.0.0/8", "db:443", "@here", "S0123ABCD", "5m", "3/60s", "on", "auto", "json"),
            *("Sun 02:00-04:00", ";", ",", " ", "\u0301", "\u200d", "\U0001f469", "\u05d0", "`"),
            *("<!channel>", "&", "http://127.0.0.1:9", "/x", "1", "a", "\ufeff", "x" * 200),
        ]
    ),
    max_size=12,
).map("".join)


def look_at(variables: dict[str, str]) -> None:
    """Load the settings and show every kind of message with them, or look at the errors."""
    try:
        settings = config.load(variables, None)
    except config.ConfigError as error:
        look_at_errors(error.errors)
    else:
        show(settings)


def look_at_errors(errors: list[str]) -> None:
    """Look whether each can be printed, as one line that is read."""
    assert errors
    for sentence in errors:
        assert sentence.replace("\u2068", "").replace("\u2069", "").isprintable()
        assert len(sentence) < 700
        sentence.encode()


def show(settings: config.Settings) -> None:
    """Show every kind of message in every way."""
    host, mention = settings.host_name, settings.alert_mention or ""
    for notification, delayed_by in SAMPLES.values():
        slack = slack_payload(notification, host, delayed_by=delayed_by, mention=mention)
        texts = [
            slack["text"],
            *(block.get("text", {}).get("text", "") for block in slack["blocks"]),
        ]
        assert notification.id in slack["text"]
        for text in texts:
            assert len(text) <= 3000
            assert text.count("`") % 2 == 0
        alerts = Alerts().payload(notification, Envelope(host, delayed_by))
        plain = json_payload(notification, host, delayed_by=delayed_by)
        for payload in (slack, plain, alerts):
            json.dumps(payload, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", [item.name for item in VARIABLES])
@given(text=_ANYTHING | _LIKELY)
@example(text=" ")
@example(text="@here," * 500)
@example(text="\U0001f469\u200d\U0001f4bb" * 80)
@example(text="`" * 255)
@example(text="<&>" * 80)
def test_what_is_accepted_can_be_shown(name: str, text: str) -> None:
    """In every kind of message, for Slack, as JSON, and for Alertmanager."""
    look_at({name: text})


@given(st.dictionaries(st.sampled_from([item.name for item in VARIABLES]), _LIKELY | _ANYTHING))
def test_so_can_what_is_accepted_together(variables: dict[str, str]) -> None:
    """Errors of one variable do not spoil those of another."""
    look_at(variables)
