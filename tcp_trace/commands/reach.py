"""The network checks: whether watched names have addresses, and webhooks' hosts answer.

Answers are untrusted, so root runs these as the service's user: see `trial.tried`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tcp_trace.host import resolver, unprivileged
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.notify.channel import DEADLINE, TransportError
from tcp_trace.settings import requirements
from tcp_trace.settings.routes import MOST_WEBHOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.connects.watch import Host
    from tcp_trace.settings.config import Secret, Settings

LIMITS = unprivileged.LIMITS._replace(seconds=(MOST_WEBHOOKS + 1) * (DEADLINE + 1) + 5)
"""Limits with time for every webhook's own time-out."""

_RESOLVE_SECONDS = 60.0


def hosts(watched: tuple[Host, ...]) -> Iterator[Finding]:
    """Check whether the watched names have addresses, within `_RESOLVE_SECONDS`."""
    deadline = time.monotonic() + _RESOLVE_SECONDS
    for number, host in enumerate(watched):
        if time.monotonic() > deadline:
            detail = f"{len(watched) - number} more were not checked: the resolver is too slow"
            yield Finding("host", Level.WARN, detail, "look at /etc/resolv.conf")
            return
        yield _host(host)


def _host(host: Host) -> Finding:
    """Check whether a watched name has an address."""
    try:
        addresses = resolver.addresses_of(host.name)
    except OSError as error:
        detail = f"{host.name} cannot be resolved ({error.strerror})"
        fix = "correct it in DEST_IP or DEST_HOST; until it is resolved, it is not watched"
        return Finding("host", Level.WARN, detail, fix)
    return Finding("host", Level.OK, f"{host.name} is {', '.join(addresses)}")


def webhooks(settings: Settings) -> Iterator[Finding]:
    """Check whether the hosts of all webhooks answer."""
    if settings.slack_url is not None:
        yield _reach(settings.slack_url)
    elif not settings.webhooks:
        fix = "set SLACK_URL"
        yield Finding("webhook", Level.WARN, "none: failures are logged, no message is sent", fix)
    for webhook in settings.webhooks:
        found = _reach(webhook.url, "its address")
        yield found._replace(detail=f"{webhook.name}: {found.detail}")


def _reach(webhook: Secret, setting: str = "SLACK_URL") -> Finding:
    """Request the front page of the webhook's host, on the way that messages take.

    Any answer will do. The webhook's own path is not requested: some servers take a GET for a
    message, and a secret should go to as few places as possible.
    """
    try:
        from tcp_trace.notify.transport import front_page  # noqa: PLC0415 - a third of a second
    except ModuleNotFoundError as error:
        why, _, fix = requirements.sentence(error).partition(": ")
        return Finding("webhook", Level.FAIL, why, fix)
    url = urlsplit(webhook.reveal())
    host = (url.hostname or "") + (f":{url.port}" if url.port else "")
    try:
        status = front_page(webhook.reveal()).status
    except TransportError as error:
        why, fix = _why_unreachable(error)
        fix = fix.replace("SLACK_URL", setting)
        return Finding("webhook", Level.FAIL, f"{host}: {why}", fix)
    detail = f"{host} answers (status {status})"
    return Finding("webhook", Level.OK, f"{detail}; 'tcp-trace test-alert' sends a message")


def _why_unreachable(error: TransportError) -> tuple[str, str]:
    """Return the reason and the fix."""
    causes = error.causes
    if "ProxyError" in causes:
        return "the proxy does not answer", "look at HTTPS_PROXY and NO_PROXY"
    if causes & {"SSLError", "CertificateError"}:
        return "TLS fails", "check the clock, the package ca-certificates, and any proxy between"
    if "gaierror" in causes:
        return "the name cannot be resolved", "look at /etc/resolv.conf and the name in SLACK_URL"
    if "ECONNREFUSED" in causes:
        return "connection refused", "look at host and port in SLACK_URL, and the firewall"
    if causes & {"Timeout", "ConnectTimeout"}:
        return "no answer in time", "allow HTTPS in the firewall, or set HTTPS_PROXY"
    return f"no connection ({error.reason})", "look at the network and the firewall"
