"""Removes webhooks from all output: whole URLs, paths and tokens, in any form."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcp_trace.settings.values import Secret

REDACTED = "<secret>"

_SHORTEST_PART = 6  # shorter parts are not secret, and occur in too many other lines
_SHORTEST_TOKEN = 16


def redaction(secrets: Iterable[Secret]) -> Callable[[str], str]:
    """Return a function that replaces all needles of the secrets in a text.

    Most lines have no secret. So only needles that contain no other needle are searched first; with
    Slack that is one, the token.
    """
    found = {needle for secret in secrets for needle in _needles(secret)}
    needles = tuple(sorted(found, key=len, reverse=True))
    shortest = tuple(n for n in needles if not any(o in n for o in needles if o != n))

    def redact(text: str) -> str:
        for needle in shortest:
            if needle in text:
                return functools.reduce(lambda t, n: t.replace(n, REDACTED), needles, text)
        return text

    return redact


def _needles(secret: Secret) -> set[str]:
    """Return the texts that reveal the webhook."""
    url = urlsplit(secret.reveal())
    target = url.path + (f"?{url.query}" if url.query else "")
    parts = {part for part in url.path.split("/") if len(part) >= _SHORTEST_TOKEN}
    for part in (secret.reveal(), url.path, target, url.query, url.password or ""):
        if len(part) >= _SHORTEST_PART:
            parts.add(part)
    forms = {
        form
        for part in parts
        for form in (part, quote(part, safe="/%:?=&"), quote(part, safe=""), unquote(part))
    }
    return forms | {json.dumps(form)[1:-1] for form in forms}
