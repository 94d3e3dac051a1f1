"""`tcp-trace test-alert`: sends one message to each configured webhook, and shows the result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tcp_trace.host import unprivileged
from tcp_trace.host.unprivileged import Refused
from tcp_trace.notify.channel import DEADLINE, Rejected, Retry
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.receivers import DEFAULT_TYPE, RECEIVERS
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.settings import requirements
from tcp_trace.settings.routes import Webhook

if TYPE_CHECKING:
    from tcp_trace.settings.config import Settings


class NotDelivered(Refused):
    """The message did not arrive; the text has the reason and the fix."""


def send_as_service(settings: Settings) -> str:
    """Run `send` as SERVICE_USER: root must not read untrusted answers.

    The webhooks' addresses are passed in memory. Raises NotDelivered, and Refused without such a
    user.
    """
    webhooks = _all(settings)
    account = unprivileged.service_user(settings.service_user)
    try:
        # Loaded here: that user may be unable to enter the module's directory.
        from tcp_trace.notify.transport import GRACE  # noqa: PLC0415 - a third of a second
    except ModuleNotFoundError as error:
        raise NotDelivered(requirements.sentence(error)) from None
    limits = unprivileged.LIMITS._replace(seconds=len(webhooks) * (DEADLINE + GRACE) + 5.0)
    return str(unprivileged.call(account, "sending", lambda: send(settings), limits))


def send(settings: Settings) -> str:
    """Send one message to each webhook and return a sentence of success; raises NotDelivered.

    All are tried, even after a failure; several webhooks get a line each.
    """
    webhooks = _all(settings)
    told: list[str] = []
    failed = False
    for webhook in webhooks:
        sentence = RECEIVERS[webhook.type].DELIVERED
        try:
            _try(webhook, settings.host_name)
        except NotDelivered as error:
            sentence, failed = str(error), True
        told.append(f"{webhook.name}: {sentence}" if len(webhooks) > 1 else sentence)
    if failed:
        raise NotDelivered("\n".join(told))
    return "\n".join(told)


def _all(settings: Settings) -> list[Webhook]:
    url = settings.slack_url
    webhooks = [*([Webhook(DEFAULT, DEFAULT_TYPE, url)] if url else []), *settings.webhooks]
    if not webhooks:
        raise NotDelivered("no webhook is set; put SLACK_URL into the env file, or see --env-file")
    return webhooks


def _try(webhook: Webhook, host_name: str) -> None:
    receiver = RECEIVERS[webhook.type]
    channel = HttpChannel(webhook.url, receiver.judge)
    fate = channel.send(receiver.test_message(host_name, time.time()))
    if isinstance(fate, Retry | Rejected):
        setting = "SLACK_URL" if webhook.name == DEFAULT else "its address"
        raise NotDelivered(_why(fate, setting))


def _why(fate: Retry | Rejected, setting: str) -> str:
    if isinstance(fate, Retry):
        return (
            f"not delivered ({fate.reason}); check the way to the webhook's host:"
            " name resolution, firewall, HTTPS_PROXY; 'tcp-trace check' helps"
        )
    if fate.dead:
        return (
            f"not delivered ({fate.reason}); this webhook accepts no messages until you act:"
            f" compare {setting} with the receiver's settings, or create a new webhook"
        )
    return f"not delivered ({fate.reason}); the receiver refuses the message"
