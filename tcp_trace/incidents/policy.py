"""When people are told what: every number of the rules in this package, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tcp_trace.incidents.named import NOBODY, Named

_LEAST = {
    "recheck": 1,
    "storm_subjects": 2,
    "flood_subjects": 2,
    "storm_namespaces": 2,
    "digest_hour": 0,
}
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers behind the rules; times are in seconds.

    Raises ValueError, with a sentence that names the field, for a number that cannot work.
    """

    after: int | None = None
    """None: as below. An incident opens with this many failures of one subject ..."""
    window: float = 60.0
    """... within this time, or in a row."""
    named: Named = NOBODY
    """Subjects that people asked for: opened with the first failure."""

    down_failures: int = 3
    """What worked before is down with so many failures in a row ..."""
    down_after: float = 10.0
    """... when the first of them is so long ago."""
    pool_after: float = 60.0
    """One of a pool is down when they are spread over this time."""
    pool_failing: int = 2
    """So many that fail together, while their neighbours work, are of a pool (told or not) ..."""
    pool_age: float = _DAY
    """... and so is what is younger than this, and began to work `pool_settled` after the start."""
    pool_settled: float = 3600.0
    new_failures: int = 3
    """What was never seen to work fails with so many in a row ..."""
    new_after: float = 60.0
    """... over this time, for each place at which the program found nothing in the last day ..."""
    explorer_after: float = 1800.0
    """... up to this time, and then ..."""
    explorer_failures: int = 10
    """... with so many."""
    degraded_window: float = 60.0
    """Degraded: within this time, in each third of it, or longer while some fail, up to ..."""
    degraded_within: float = 600.0
    """... this ..."""
    degraded_failures: int = 10
    """... so many failed, ..."""
    degraded_share: float = 0.1
    """... which are this share of the attempts, ..."""
    degraded_factor: float = 5.0
    """... and this many times the usual share."""
    well_share: float = 0.01
    """What fails at this share, or as often as that factor allows, does so as usual."""
    untried_after: float = 1200.0
    """What worked, failed, and was not tried again for so long is told ..."""
    untried_gaps: float = 8.0
    """... or for so many of its usual gaps, where these are up to ..."""
    untried_gap: float = 7200.0
    """... this."""
    untried_quiet: float = 2 * _DAY
    """What nobody tried is over after this long without a failure or a success."""
    forget_after: float = 3 * _DAY
    """A row of failures is forgotten when none was added for this long."""
    max_makers: int = 1000
    """So many programs are known to have found nothing at many places."""

    interval: float = 300.0
    """The shortest time between two messages of one open incident."""
    repeat: float = 43_200.0
    """The first reminder comes after this time; each further one after twice that, up to ..."""
    repeat_most: float = _DAY
    """... this."""
    resolve_after: float = 120.0
    """Recovered is said after this long without a failure, if connects succeed again ..."""
    resolve_gaps: float = 2.0
    """... and after so many of the usual gaps between its failures, from three failures on."""
    quiet_factor: float = 10.0
    """Quiet is said after this many times `resolve_after` without a failure or a success."""
    recheck: float = 30.0
    """How often an incident that could be over, or worse, is looked at."""
    recent: float = 60.0
    """Nothing is said to fail still unless it failed within this time."""
    digest_hour: int | None = 9
    """The hour of the day (UTC) of the daily digest, None for no digest."""

    flap_window: float = 3600.0
    """Failing again so soon after the end makes the next end wait twice as long ..."""
    max_patience: int = 16
    """... up to this many times `resolve_after`."""

    known_burst: int = 3
    """So many that worked before open alone, if fewer than these are about to ..."""
    burst_window: float = 600.0
    """... within this time ..."""
    known_daily: int = 12
    """... and so many in a day."""
    new_burst: int = 1
    """Of what never worked, so many within `burst_window` ..."""
    new_daily: int = 3
    """... and so many in a day."""
    storm_subjects: int = 5
    """A storm: so many of those told at once opening ..."""
    storm_window: float = 10.0
    """... within this time ..."""
    flood_subjects: int = 15
    """... or so many, however slowly, within `quiet_after`."""
    storm_namespaces: int = 3
    """... or one address and port in so many network namespaces, within `quiet_after`."""
    breadth_window: float = 15.0
    """Or `storm_subjects` that worked before, failing within this time, and all down, or more than
    work ..."""
    outage_subjects: int = 3
    """... or so many ..."""
    outage_window: float = 120.0
    """... within this time, while nothing works."""
    storm_gather: float = 5.0
    """The first digest waits this long, so that it can say how large the storm is."""
    storms_prompt: int = 3
    """So many storms of a day do; each further one waits longer, by `interval`, twice that, ..."""
    max_incidents: int = 10_000
    """Destinations remembered at once; failures of more are counted, not told apart.

    A tenth more are for those who have few of them. Half as many are of those nobody heard of yet.
    """

    critical_from: int = 3
    """Fewer failures are never critical, whatever their share."""
    critical_ratio: float = 0.5
    """From this share of failing attempts on, an incident is critical."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or field.name == "named":
                continue
            least = _LEAST.get(field.name, 1 if field.type.startswith("int") else 0)
            if not value >= least:  # also refuses a NaN
                message = f"{field.name} is {value}, but must be at least {least}"
                raise ValueError(message)

    @property
    def quiet_after(self) -> float:
        """Seconds without a failure or a success after which an incident is called quiet."""
        return self.quiet_factor * self.resolve_after
