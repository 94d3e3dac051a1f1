"""kill -9 at random points: what was committed arrives, and in order.

`TCP_TRACE_KILLS=200 pytest tests/reliability/test_kill.py` runs it for longer.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.webhook import Webhook

if TYPE_CHECKING:
    from tests.figures import Figures

KILLS = int(os.environ.get("TCP_TRACE_KILLS", "25"))
CRASHING = Path(__file__).parent / "crashing.py"
BATCH = 1_000
ROOT = Path(__file__).parents[2]


class Run(NamedTuple):
    """What one process said: the last one committed before it, those it committed, its end.

    `memory` is what it found of that.
    """

    before: str
    memory: str
    committed: list[str]
    drained: bool


def run(database: Path, url: str, first: int, count: int, kill_after: float | None) -> Run:
    """Run the process, and kill it so many seconds after its first word."""
    command = [sys.executable, str(CRASHING), str(database), url, str(first), str(count)]
    # Without a buffer: `communicate` does not see what `readline` would have read ahead.
    process = subprocess.Popen(
        command, bufsize=0, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    _, before, memory = process.stdout.readline().decode().split()
    try:
        said, _ = process.communicate(timeout=300 if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
    lines = [line.split() for line in said.decode().splitlines()]
    committed = [line[1] for line in lines if line[0] == "committed"]
    return Run(before, memory, committed, ["drained"] in lines)


def test_nothing_committed_is_lost_and_little_comes_twice(tmp_path: Path, figure: Figures) -> None:
    """All that was committed arrives in order, twice only what was in flight at a kill."""
    seed = random.randrange(2**32)  # noqa: S311 - when to kill is no secret
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    rng = random.Random(seed)  # noqa: S311
    database, runs = tmp_path / "outbox.db", list[Run]()
    with Webhook() as webhook:
        for number in range(KILLS):
            # It takes a tenth of a second until the first message leaves.
            after = rng.uniform(0.0, 0.6)
            runs.append(run(database, webhook.url, number * BATCH, BATCH, after))
        runs.append(run(database, webhook.url, KILLS * BATCH, 1, None))
        arrived = [request.payload for request in webhook.received]
    check_memories(runs)
    assert [one.drained for one in runs] == [False] * KILLS + [True]
    committed = committed_by(runs)
    twice = audit(committed, arrived)
    figure(
        "kill -9 at random moments, under load",
        "nothing that was committed; what was being sent comes twice",
        f"{KILLS} kills, {committed:,} notifications committed, 0 lost, 0 out of order, {twice}"
        f" of {len(arrived):,} messages came twice",
    )


def committed_by(runs: list[Run]) -> int:
    """Return how many notifications were committed, as the state tells that came with each.

    The state names the last one. That may be one more than was said: a kill can come between
    the commit and the word.
    """
    total, last = 1, "None"
    for number, (one, after) in enumerate(pairwise(runs)):
        assert one.before == last
        last = after.before
        mine = last != one.before
        count = int(last[1:]) - number * BATCH + 1 if mine else 0
        assert len(one.committed) <= count <= len(one.committed) + 1
        total += count
    assert total > KILLS
    return total


def check_memories(runs: list[Run]) -> None:
    """See that each memory is whole, and of the last commit.

    It may be one older, which a kill between the two transactions leaves, or one newer, which a
    sender wrote.
    """
    for one in runs:
        state, memory = (-1 if each == "None" else int(each[1:]) for each in one[:2])
        assert is_next(state, memory) or is_next(memory, state)


def is_next(one: int, other: int) -> bool:
    """Return whether one follows the other, or is it; each process begins with its own."""
    return other in (one, one + 1) or (other > one and other % BATCH == 0)


def audit(committed: int, arrived: list[dict[str, Any]]) -> int:
    """Compare what was promised with what came; return how many came twice.

    Each notification counts one failure and merged ones add up. A message that came twice counts
    as it came last: it may have taken in newer ones meanwhile.
    """
    by_id = {each["id"]: each for each in arrived}
    assert sum(each["failures"] for each in by_id.values()) == committed
    assert len(arrived) - len(by_id) <= KILLS
    order = defaultdict[str, list[str]](list)
    for each in arrived:
        order[each["incident"]].append(each["id"])
    for ids in order.values():
        assert ids == sorted(ids)
    return len(arrived) - len(by_id)
