"""Silences that hold until what they silence has recovered: which end with an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.subjects import endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Moment
    from tcp_trace.connects.watch import Endpoint
    from tcp_trace.incidents.storm import Storm
    from tcp_trace.incidents.subjects import Silencing


def over_with(
    account: Incident | Storm,
    silences: Silencing | None,
    still_open: Iterable[Incident],
    now: Moment,
) -> set[str]:
    """Return the ids of the silences that are over with this account.

    One that holds for another incident that is open stays: the same address may fail in many
    network namespaces.
    """
    if not silences:
        return set()
    ending = silences.until_recovered(_meant(account, now))
    return ending and ending - {each.silenced_by for each in still_open if each is not account}


def _meant(account: Incident | Storm, now: Moment) -> list[Endpoint]:
    """Return what has recovered, or is tried no more: of a storm all that has not failed lately."""
    if isinstance(account, Incident):
        return endpoints(account.subject, account.tally.addresses, account.tally.hosts)
    since = now.mono - account.policy.resolve_after * account.patience
    return [
        endpoint
        for member in account.members
        if member.ever_mono <= since
        for endpoint in endpoints(
            member.subject, filter(None, (member.address,)), filter(None, (member.host,))
        )
    ]
