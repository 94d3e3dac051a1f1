"""Silences: failures that are counted, but send no message for a while.

A silence has a pattern of failures (`Match`) and an end; a maintenance window (`maintenance.py`)
has a pattern and the hours of a week. `incidents.py` applies both to incidents. Their times are of
the wall clock, because people set them by it and they outlive a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.incidents.subjects import is_within
from tcp_trace.silences.match import Match, parse_match

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Moment
    from tcp_trace.connects.watch import Endpoint
    from tcp_trace.incidents.subjects import AnyFailure
    from tcp_trace.silences.maintenance import Window

_LATEST = 253_402_300_799.0  # 9999-12-31: the last second that a calendar has


class Silence(NamedTuple):
    """One silence: failures that fit `match`, from `begins` until `ends` (epoch seconds).

    With `until_recovered` it ends earlier, when the incident of what it means is over.
    """

    id: str
    match: Match
    begins: float
    ends: float
    comment: str = ""
    until_recovered: bool = False

    def in_force(self, wall: float) -> bool:
        """Return whether it holds at this time."""
        return self.begins <= wall < self.ends

    def to_dict(self) -> dict[str, Any]:
        """Return what `json.dumps` takes and `from_dict` gives back."""
        return {**self._asdict(), "match": str(self.match)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Silence:
        """Return the silence that `to_dict` wrote; raise ValueError for anything else."""
        try:
            begins, ends = float(data["begins"]), float(data["ends"])
            match = parse_match(str(data["match"]))
            name, comment = str(data["id"]), str(data["comment"])
            until_recovered = bool(data.get("until_recovered", False))
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"this is not a silence: {error!r}") from error
        if not (0 <= begins <= _LATEST and 0 <= ends <= _LATEST):
            raise ValueError("it begins or ends at no time that a calendar has")
        return cls(name, match, begins, ends, comment, until_recovered)


class Silences:
    """All silences and maintenance windows, asked for every failure."""

    def __init__(self, silences: Iterable[Silence] = (), windows: Iterable[Window] = ()) -> None:
        self._all: dict[str, Silence | Window] = {
            **{window.id: window for window in windows},
            **{silence.id: silence for silence in silences},
        }

    def __bool__(self) -> bool:
        return bool(self._all)

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def of(self, failure: AnyFailure, now: Moment) -> str | None:
        """Return the id of one that is in force and fits this failure, None where none does."""
        for name, silence in self._all.items():
            if silence.match.fits(failure) and silence.in_force(now.wall):
                return name
        return None

    def in_force(self, name: str, now: Moment) -> bool:
        """Return whether the one of this id is there and holds now."""
        silence = self._all.get(name)
        return silence is not None and silence.in_force(now.wall)

    def until_recovered(self, meant: Iterable[Endpoint]) -> set[str]:
        """Return the ids of those that end when one of these endpoints has recovered."""
        ending = [s for s in self._all.values() if isinstance(s, Silence) and s.until_recovered]
        endpoints = list(meant) if ending else []
        return {each.id for each in ending if is_within(endpoints, each.match.destinations)}
