"""Kinds of webhooks: a module each, which says all that is particular to it (see `receiver.py`).

A new one is a module here, its line in `RECEIVERS`, and its section in docs/WEBHOOK.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.notify.receivers import alertmanager, plainjson, slack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.notify.receivers.receiver import Receiver

_ALL: tuple[Receiver, ...] = (slack, plainjson, alertmanager)

RECEIVERS: Mapping[str, Receiver] = {each.NAME: each for each in _ALL}
"""By the names that `type` has in the file of routes."""

DEFAULT_TYPE = slack.NAME
"""What SLACK_URL is, and a webhook of that file which names no type."""
