"""What was measured, and what is wanted of it: pure, so that it can be tested without a machine."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "nothing"
FAILURES, ATTEMPTS, ALL = (
    f"this service, EVENTS={mode}" for mode in ("failures", "attempts", "all")
)
TCPSTATES, TCPCONNLAT, TCPTRACER = (
    f"BCC {tool}" for tool in ("tcpstates", "tcpconnlat", "tcptracer")
)
PLAIN = "plain design"

SHORT, LONG, REFUSED = "5,000", "50,000", "1,000 refused"
REFUSED_CONNECTS = 1_000

SIGNIFICANT = 0.05


class Sample(NamedTuple):
    """One workload beside one contender.

    `cpu_ms` is the contender's CPU time in milliseconds, `ticks` the same as /proc/PID/stat has it
    (1/100 s), `seconds` how long the load itself took. Both CPU times are 0 beside nothing.
    """

    cpu_ms: float
    ticks: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one contender costs, and what it told. None is for what it does not tell at all.

    `startup` is in seconds, `resident_kb` after all workloads. `lost` are records, `false_alarms`
    failures told of connects that succeeded, `reported` refused connects that it told of.
    """

    startup: float | None
    resident_kb: int | None
    lost: int | None
    false_alarms: int | None
    reported: int | None
    samples: Mapping[str, Sample]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Seconds of the same load with nothing running and beside others, taken in turn.

    `idle` are programs that do nothing, on the hooks of the service.
    """

    nothing: tuple[float, ...]
    idle: tuple[float, ...]
    service: tuple[float, ...]

    def slowdown(self, beside: tuple[float, ...]) -> float:
        """How many times as long as with nothing running the load takes, by the medians."""
        return statistics.median(beside) / statistics.median(self.nothing)

    def chance(self, beside: tuple[float, ...]) -> float:
        """How likely such a slowdown is by chance alone: an exact permutation test of the sums."""
        pooled = (*self.nothing, *beside)
        # A rounding error must not make an arrangement with the same sum a smaller one.
        observed = sum(beside) - 1e-9
        as_slow = sum(sum(one) >= observed for one in combinations(pooled, len(beside)))
        return as_slow / comb(len(pooled), len(beside))


@dataclass(frozen=True, kw_only=True)
class Results:
    """A whole run."""

    kernel: str
    bcc: str
    cpu: str
    costs: Mapping[str, Cost]
    rounds: Rounds

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; `from_dict` takes it back."""
        told = asdict(self)
        for name, cost in self.costs.items():
            samples = {workload: s._asdict() for workload, s in cost.samples.items()}
            told["costs"][name]["samples"] = samples
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Results:
        """Build the results that `to_dict` described."""
        costs = {
            name: Cost(**{**cost, "samples": {w: Sample(**s) for w, s in cost["samples"].items()}})
            for name, cost in told["costs"].items()
        }
        rounds = Rounds(**{name: tuple(seconds) for name, seconds in told["rounds"].items()})
        return cls(**{**told, "costs": costs, "rounds": rounds})


class Verdict(NamedTuple):
    """One wanted figure and what became of it, as texts for the table."""

    figure: str
    wanted: str
    measured: str
    met: bool


def verdicts(results: Results) -> list[Verdict]:
    """Hold the figures against the wanted ones."""
    return [
        *_cpu_of_successes(results.costs),
        *_cpu_of_everything(results.costs),
        *_start_and_memory(results.costs),
        *_correctness(results.costs),
        _load(results.rounds),
    ]


def _cpu_of_successes(costs: Mapping[str, Cost]) -> Iterator[Verdict]:
    for other, divisor in ((TCPCONNLAT, 50), (PLAIN, 200)):
        for workload in (SHORT, LONG):
            ratio = _cpu_ratio(costs, FAILURES, other, workload)
            yield Verdict(
                f"CPU for {workload} successful connects, default mode : {other}",
                f"≤ 1/{divisor}",
                as_fraction(ratio),
                ratio <= 1 / divisor,
            )


def _cpu_of_everything(costs: Mapping[str, Cost]) -> Iterator[Verdict]:
    for workload in (SHORT, LONG):
        ratio = _cpu_ratio(costs, ALL, TCPSTATES, workload)
        yield Verdict(
            f"CPU for {workload} successful connects, EVENTS=all : {TCPSTATES}",
            "≤ 1",
            as_fraction(ratio),
            ratio <= 1,
        )


def _cpu_ratio(costs: Mapping[str, Cost], one: str, other: str, workload: str) -> float:
    return costs[one].samples[workload].cpu_ms / costs[other].samples[workload].cpu_ms


def _start_and_memory(costs: Mapping[str, Cost]) -> Iterator[Verdict]:
    start = (costs[FAILURES].startup or 0) / (costs[PLAIN].startup or 1)
    yield Verdict(f"start-up : {PLAIN}", "≤ 1/3", as_fraction(start), start <= 1 / 3)
    resident = (costs[FAILURES].resident_kb or 0) / 1024
    yield Verdict(
        "resident memory, default mode",
        "≤ 35 MB",
        f"{resident:.1f} MB",
        resident <= 35,
    )


def _correctness(costs: Mapping[str, Cost]) -> Iterator[Verdict]:
    for what in ("lost", "false_alarms"):
        found = sum(getattr(costs[name], what) for name in (FAILURES, ATTEMPTS, ALL))
        words = {"lost": "lost records", "false_alarms": "false alarms"}[what]
        yield Verdict(f"{words}, all three modes", "0", f"{found:,}", found == 0)
    reported = [costs[name].reported for name in (FAILURES, ATTEMPTS, ALL)]
    told = " / ".join(f"{number:,}" for number in reported)
    yield Verdict(
        "refused connects told of, each mode",
        f"{REFUSED_CONNECTS:,} of {REFUSED_CONNECTS:,}",
        told,
        all(number == REFUSED_CONNECTS for number in reported),
    )


def _load(rounds: Rounds) -> Verdict:
    return Verdict(
        "the load's duration beside the service : with nothing running",
        "not measurably longer",
        _slowdown(rounds, rounds.service)
        + f"; two idle programs: {_slowdown(rounds, rounds.idle)}",
        rounds.chance(rounds.service) >= SIGNIFICANT,
    )


def _slowdown(rounds: Rounds, beside: tuple[float, ...]) -> str:
    return f"{rounds.slowdown(beside):.3f} (by chance: {rounds.chance(beside):.1%})"


def as_fraction(ratio: float) -> str:
    """Write a ratio as people read it: `1/240` where it is small, else with two decimals."""
    if ratio <= 0:
        return "0"
    return f"1/{1 / ratio:,.0f}" if ratio < 1 / 3 else f"{ratio:.2f}"
