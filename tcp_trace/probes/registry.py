"""All probes, in the order of compiling and attaching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.probes.connect import CONNECT
from tcp_trace.probes.names import NAMES
from tcp_trace.probes.retransmits import RETRANSMITS

if TYPE_CHECKING:
    from tcp_trace.kernel.contract import Probe
    from tcp_trace.settings.config import Settings

PROBES: tuple[Probe[Settings], ...] = (
    CONNECT,
    NAMES,
    RETRANSMITS,
)


def wanted(settings: Settings) -> list[Probe[Settings]]:
    """Return the probes that a configuration wants."""
    return [probe for probe in PROBES if probe.is_wanted(settings)]
