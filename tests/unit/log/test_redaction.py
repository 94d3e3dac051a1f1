"""The webhook is taken out of a text in every form, and nothing else is."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tcp_trace.log.redaction import redaction
from tcp_trace.settings.values import Secret

TOKEN = "c" * 24
URL = f"https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/{TOKEN}"


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"url: /services/T0AAAAAAA/B0BBBBBBB/{TOKEN} (Caused by ...)",
        TOKEN,
        quote(URL, safe=""),
        json.dumps({"url": URL}),
    ],
)
def test_every_form_is_redacted(text: str) -> None:
    """The URL, its path, its token, percent-encoded or in JSON: none stays."""
    redacted = redaction([Secret(URL)])(text)
    assert "ccc" not in redacted
    assert "B0BBBBBBB" not in redacted
    assert "<secret>" in redacted


def test_path_that_json_escapes_is_redacted() -> None:
    """A webhook with quotes or letters beyond ASCII is found in JSON, too."""
    url = 'https://a.example/hook/\u00e9"x'
    assert redaction([Secret(url)])(json.dumps(url)) == '"<secret>"'


def test_secret_in_the_query_is_redacted() -> None:
    """A webhook whose secret is in its query is one as well."""
    redact = redaction([Secret("https://a.example/h?key=sesame")])
    assert redact("GET /h?key=sesame") == "GET <secret>"
    assert redact("key=sesame") == "<secret>"


def test_password_is_redacted() -> None:
    """A password in the URL is a secret by itself."""
    assert redaction([Secret("https://u:sesame@a.example/")])("sesame open") == "<secret> open"


def test_innocent_text_stays() -> None:
    """What is short enough to stand anywhere is left alone, and so is all without a webhook."""
    assert redaction([Secret("https://u:a@a.example/x?b")])("a/x?b") == "a/x?b"
    assert redaction([])(URL) == URL
