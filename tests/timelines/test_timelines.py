"""Every timeline keeps its bounds, but for those of which the page says that they are missed."""

from __future__ import annotations

import pytest

from tests.timelines import page
from tests.timelines.timeline import TIMELINES, Timeline

MISSED = page.missed(page.PAGE.read_text())


@pytest.mark.parametrize("timeline", TIMELINES.values(), ids=TIMELINES)
def test_timeline(timeline: Timeline) -> None:
    """People hear of what is wrong, soon, and of nothing else."""
    broken = {seed: wrong for seed in range(timeline.seeds) if (wrong := timeline.broken(seed))}
    heard = "\n".join(timeline.run(seed).heard for seed in broken)
    assert bool(broken) == (timeline.name in MISSED), f"{broken}\n{heard}"
