"""The page of figures: docs/CALM.md, as the seeded timelines give it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.timelines import rows
from tests.timelines.timeline import TIMELINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from tests.timelines.observer import Story
    from tests.timelines.timeline import Result, Timeline

PAGE = Path(__file__).parents[2] / "docs/CALM.md"
SEEDS = 3
"""The page has the worst of so many seeds, however many are run."""

_HEAD = "| timeline | days | busiest day | alerts | mentions | named after | end told | kept |"
_MARK = "<!-- timelines: begin -->\n"
_END = "<!-- timelines: end -->\n"


def written(text: str) -> str:
    """Return the page with the figures of now."""
    before, _, rest = text.partition(_MARK)
    after = rest.partition(_END)[2]
    return "\n".join([before + _MARK, *_sections(), _END + after])


def missed(text: str) -> set[str]:
    """Return the timelines of which the page says that they do not keep their bounds."""
    rows = [line.split(" | ") for line in text.splitlines() if "**missed**" in line]
    return {cells[0].removeprefix("| ") for cells in rows if len(cells) > 1}


def _seeds(timeline: Timeline) -> int:
    return min(timeline.seeds, SEEDS)


def _sections() -> Iterable[str]:
    for module in rows.ALL:
        yield f"**{(module.__doc__ or '').strip()}**\n"
        yield _HEAD
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_row(each) for each in TIMELINES.values() if _is_of(each, module))
        yield ""


def _is_of(timeline: Timeline, module: ModuleType) -> bool:
    return timeline.scene.__module__ == module.__name__


def _row(timeline: Timeline) -> str:
    results = [timeline.run(seed) for seed in range(_seeds(timeline))]
    bounds = timeline.bounds
    cells = [
        timeline.name,
        f"{timeline.days:g}",
        f"{max(each.busiest for each in results)} (≤ {bounds.a_day})",
        f"{max(each.alerts for each in results)} (≤ {bounds.alerts})",
        f"{_range(each.mentions for each in results)} ({_range(bounds.mentions)})",
        _named(timeline, results),
        _ended(timeline, results),
        "**missed**" if any(map(timeline.broken, range(_seeds(timeline)))) else "yes",
    ]
    return f"| {' | '.join(cells)} |"


def _named(timeline: Timeline, results: Sequence[Result]) -> str:
    stories = [story for each in results for story in each.stories]
    if not stories:
        return "-"
    named = [_when(story, alone=timeline.bounds.alone) for story in stories]
    told = "never" if None in named else _span(max(each for each in named if each is not None))
    return f"{told} (≤ {_span(timeline.bounds.within)})"


def _ended(timeline: Timeline, results: Sequence[Result]) -> str:
    stories = [story for each in results for story in each.stories]
    if not stories or not timeline.bounds.alone:
        return "-"
    ended = [story.recovered for story in stories]
    return "no" if None in ended else _span(max(each for each in ended if each is not None))


def _when(story: Story, *, alone: bool) -> float | None:
    return story.named if alone else story.listed


def _range(numbers: Iterable[int]) -> str:
    low, *_, high = sorted([*numbers] * 2)
    return f"{low}" if low == high else f"{low} to {high}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
