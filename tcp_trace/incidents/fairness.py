"""Who is named where not all can be: nobody's many hide another's one."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from tcp_trace.connects.events import Process
    from tcp_trace.connects.maker import Maker
    from tcp_trace.incidents.tally import Program, Tally

    Whose = tuple[str | int | None, int | None]

ItemT = TypeVar("ItemT")
_NOBODY: Whose = (None, None)
_FEW = 10


def maker_of(process: Process | Program | None, maker: Maker) -> Whose:
    """Return whose a failure is: the owner of its cgroup, and the user.

    In this order: a user may have many units and cgroups below his owner, and the root of a
    container many users.
    """
    return maker.owner or maker.container or maker.unit, process.uid if process else None


def makers_of(tally: Tally) -> list[Whose]:
    """Return whose the failures of a tally are, by program."""
    return [maker_of(program, program.maker) for program in tally.programs.values()]


class Shares:
    """How many places each owner has, and each user: who takes all of them leaves none to others.

    Root counts for its owners alone, since every container has one.
    """

    def __init__(self) -> None:
        self._places: Counter[object] = Counter()

    def add(self, makers: Collection[Whose]) -> None:
        """Count a place for each of these, once for an owner and once for a user."""
        self._places.update({key for maker in makers for key in _keys(maker)})

    def is_small(self, maker: Whose) -> bool:
        """Whether somebody has few places, by himself and with all of his owner's."""
        return all(self._places[key] < _FEW for key in _keys(maker))


def _keys(maker: Whose) -> list[object]:
    owner, user = maker
    keys: list[object] = [] if owner is None else [("owner", owner)]
    if user:
        keys.append(("user", user))
    return keys or [maker]


def fairly(
    items: Iterable[ItemT],
    most: int,
    rank: Callable[[ItemT], tuple[bool, int]],
    whose: Callable[[ItemT], Collection[Whose]],
) -> list[ItemT]:
    """Return up to `most` items, the highest `rank` first, (True, ...) before any (False, ...).

    Where there are more, there is one of each owner, and one of each of his users, before a second
    of any; those who have few come first.
    """
    ranked = sorted(items, key=rank, reverse=True)
    if len(ranked) <= most:
        return ranked
    makers = [whose(item) or (_NOBODY,) for item in ranked]
    firsts = sum(rank(item)[0] for item in ranked)
    tiers = (range(firsts), range(firsts, len(ranked)))
    order = dict.fromkeys(chain.from_iterable(_deal(tier, makers) for tier in tiers))
    return [ranked[place] for place in sorted(list(order)[:most])]


def _deal(places: Iterable[int], makers: Sequence[Collection[Whose]]) -> list[int]:
    """Return the places, one of each owner and of each of his users in turn."""
    owners: dict[str | int | None, dict[int | None, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for place in places:
        for owner, user in makers[place]:
            owners[owner][user].append(place)
    return _in_turn(_in_turn(users.values()) for users in owners.values())


def _in_turn(rows: Iterable[list[int]]) -> list[int]:
    dealt = zip_longest(*sorted(rows, key=len), fillvalue=-1)
    return [place for turn in dealt for place in turn if place >= 0]
