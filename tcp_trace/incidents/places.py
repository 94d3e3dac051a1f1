"""Which incident a failure belongs to, where one program asks for a name and another for none.

A place is an address and port in a network namespace. While an incident is open, what fails at one
of its places belongs to it, if either of the two has no name:

    an open incident of a name       takes in failures without a name at the addresses that failed
    an open incident of an address   takes in failures by name at that address

Two names are two destinations, also where they have one address. Everything here is pure.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.topics import subject_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from tcp_trace.incidents.subjects import AnyFailure, Subject

_MOST = 4096


class Places:
    """The places at which subjects with a name failed; the latest are remembered."""

    def __init__(self) -> None:
        self._owners: OrderedDict[Subject, Subject] = OrderedDict()

    def claim(self, failure: AnyFailure, open_now: Container[Subject]) -> AnyFailure:
        """Return the failure as one of the open incident that it belongs to, or as it is."""
        subject, place = failure.subject, failure.place
        if subject == place:
            owner = self._owners.get(place)
            is_taken = place not in open_now and owner is not None and owner in open_now
            return failure.belonging_to(owner) if is_taken and owner else failure
        if subject not in open_now and place in open_now:
            return failure.belonging_to(place)
        if self._owners.get(place) not in open_now:
            self._owners[place] = subject
            self._owners.move_to_end(place)
            if len(self._owners) > _MOST:
                self._owners.popitem(last=False)
        return failure

    def dump(self, open_now: Container[Subject]) -> list[Any]:
        """Return what matters of it, for JSON: the places of what is open."""
        owners = self._owners.items()
        return [[list(place), list(owner)] for place, owner in owners if owner in open_now]

    def load(self, saved: Iterable[Any]) -> None:
        """Remember what `dump` returned."""
        for place, owner in saved:
            self._owners[subject_of(place)] = subject_of(owner)
