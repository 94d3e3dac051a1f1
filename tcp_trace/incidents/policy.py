"""When people are told what: every number of the rules in `incidents.py`, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

_LEAST = {
    "recheck": 1,
    "storm_subjects": 2,
    "flood_subjects": 2,
    "storm_namespaces": 2,
    "growth": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers behind the rules; times are in seconds.

    Raises ValueError, with a sentence that names the field, for a number that cannot work.
    """

    after: int = 1
    """An incident opens with this many failures of one subject ..."""
    window: float = 60.0
    """... within this time."""
    interval: float = 300.0
    """The shortest time between two messages of one open incident."""
    repeat: float = 14_400.0
    """While failures continue, people hear of it at least this often."""
    resolve_after: float = 120.0
    """Recovered is said after this long without a failure, if connects succeed again."""
    quiet_factor: float = 10.0
    """Quiet is said after this many times `resolve_after` without a failure or a success."""
    recheck: float = 30.0
    """How often an incident that could be over is looked at."""
    growth: int = 10
    """Failures growing by this factor since the last message are news."""

    flap_window: float = 3600.0
    """Failing again so soon after the end makes the next end wait twice as long ..."""
    max_patience: int = 16
    """... up to this many times `resolve_after`."""

    storm_subjects: int = 5
    """A storm: so many subjects opening ..."""
    storm_window: float = 10.0
    """... within this time ..."""
    flood_subjects: int = 15
    """... or so many, however slowly, within `quiet_after`."""
    storm_namespaces: int = 3
    """... or one address and port in so many network namespaces, within `quiet_after`."""
    storm_gather: float = 5.0
    """The first digest waits this long, so that it can say how large the storm is."""
    max_incidents: int = 10_000
    """Destinations remembered at once; failures of more are counted, not told apart.

    A tenth more are for those who have few of them.
    """

    critical_from: int = 3
    """Fewer failures are never critical, whatever their share."""
    critical_ratio: float = 0.5
    """From this share of failing attempts on, an incident is critical."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 1 if field.type == "int" else 0)
            if not value >= least:  # also refuses a NaN
                message = f"{field.name} is {value}, but must be at least {least}"
                raise ValueError(message)

    @property
    def quiet_after(self) -> float:
        """Seconds without a failure or a success after which an incident is called quiet."""
        return self.quiet_factor * self.resolve_after
