"""How settings apply to a running service: policy, description, and changes at a reload."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.incidents.named import Named
from tcp_trace.incidents.policy import Policy
from tcp_trace.settings import config
from tcp_trace.settings.variables import VARIABLES

if TYPE_CHECKING:
    from tcp_trace.settings.config import Settings

# How long after an incident could be over it is said at the latest.
_RECHECK = 30.0


def policy(settings: Settings) -> Policy:
    """Return the policy of the incidents."""
    return Policy(
        after=settings.alert_after.failures,
        window=settings.alert_after.window,
        named=Named((*settings.dest_ip, *settings.dest_host)),
        down_failures=settings.alert_down.failures or 1,
        down_after=settings.alert_down.window,
        digest_hour=settings.digest,
        interval=settings.alert_interval,
        repeat=settings.alert_repeat,
        resolve_after=settings.resolve_after,
        recheck=min(_RECHECK, settings.resolve_after),
    )


def describe(settings: Settings) -> str:
    """Return the watched destinations, for the log."""
    if settings.dest_ip == (EVERYTHING,):
        return "every destination"
    return ",".join(str(one) for one in (*settings.dest_ip, *settings.dest_host))


def _at_start() -> set[str]:
    names = {item.name.lower() for item in VARIABLES if item.at_start}
    return names & {item.name for item in fields(config.Settings)}


def changed_at_start(old: Settings, new: Settings) -> list[str]:
    """Return the variables that changed, but take effect at a start only."""
    return sorted(n.upper() for n in _at_start() if getattr(old, n) != getattr(new, n))


def keep_at_start(old: Settings, new: Settings) -> Settings:
    """Return the new settings, but for the variables that take effect at a start only."""
    return replace(new, **{name: getattr(old, name) for name in _at_start()})
