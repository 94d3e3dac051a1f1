"""The rules for webhooks' addresses that all kinds share."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def checked(text: str, example: str, *, plain: bool = False) -> str:
    """Return a webhook's URL. No error shows any part of it: the path is the secret.

    With `plain` it may be http where it holds no password: its path is no secret. Raises
    ValueError, which may say to write the `example`.
    """
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
        plain = plain and url.password is None
    except ValueError:
        raise ValueError(f"not a URL; write {example}") from None
    if not text.isprintable() or " " in text or not host or url.scheme not in {"http", "https"}:
        raise ValueError(f"not a URL; write {example}")
    if url.scheme == "http" and not plain and not is_loopback(host):
        raise ValueError(
            "http would send the secret in clear text; write https:// (http is for loopback only)"
        )
    return text


def is_loopback(host: str) -> bool:
    """Tell whether a host of a URL is this machine, without resolving it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
