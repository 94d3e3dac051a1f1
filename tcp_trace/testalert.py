"""`tcp-trace test-alert`: one message to the configured webhook, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.delivery.channel import Rejected, Sent
from tcp_trace.delivery.slack import Slack

if TYPE_CHECKING:
    from tcp_trace.config import Settings


class NotDelivered(Exception):  # noqa: N818 - it says what is the matter, and reads so
    """The message did not arrive; the text says why and what to do."""


def send(settings: Settings) -> str:
    """Send one message and return a sentence of success; raises NotDelivered."""
    if settings.slack_url is None:
        raise NotDelivered("no webhook is set; put SLACK_URL into the env file, or see --env-file")
    try:
        outcome = Slack(settings.slack_url).send(_payload(settings.host_name))
    except ModuleNotFoundError as error:
        raise NotDelivered(str(error)) from None
    if isinstance(outcome, Sent):
        return "delivered: the message stands in the webhook's channel"
    if not isinstance(outcome, Rejected):
        raise NotDelivered(
            f"not delivered ({outcome.reason}); is there a way from here to the webhook's host:"
            " name resolution, firewall, HTTPS_PROXY? 'tcp-trace check' looks"
        )
    if outcome.dead:
        raise NotDelivered(
            f"not delivered ({outcome.reason}); this webhook takes no message until somebody acts:"
            " compare SLACK_URL with what Slack shows, or make a new webhook"
        )
    raise NotDelivered(f"not delivered ({outcome.reason}); the other side refuses the message")


def _payload(host_name: str) -> dict[str, object]:
    host = host_name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "text": f"Test message of tcp_trace on {host}: failed TCP connects of this host will be"
        " told here. Nothing has failed."
    }
