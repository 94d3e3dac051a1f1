"""The contract of a probe: what it declares, apart from how that is carried out.

A probe is a C file and a Python module. The C file has programs and maps. The module declares what
the programs attach to, what else they need, and how to decode their records.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class StartError(Exception):
    """The service cannot start on this host; the text says why and what to do."""


class NotAttachedError(Exception):
    """A program cannot be attached, or does not run once attached; the text says why."""


class Kind(Enum):
    """What a program can attach to."""

    KPROBE = "kprobe"
    RAW_TRACEPOINT = "tracepoint"
    FEXIT = "fexit"
    ITERATOR = "iterator"


class Attach(NamedTuple):
    """One program and its target.

    `target` is a kernel function, a tracepoint (`sock:inet_sock_set_state`), or what an iterator
    walks. `function` is the program in the C file: its name, or the argument of KRETFUNC_PROBE() or
    BPF_ITER(), which may be another function with the same arguments.
    """

    kind: Kind
    target: str
    function: str

    @property
    def name(self) -> str:
        """The kernel's name of the target: a tracepoint without its group."""
        return self.target.rpartition(":")[2]

    def __str__(self) -> str:
        """`kprobe on tcp_set_state`, `tracepoint sock:inet_sock_set_state`."""
        between = " on " if self.kind is Kind.KPROBE else " "
        return f"{self.kind.value}{between}{self.target}"


class Attached(NamedTuple):
    """One attached program, by its descriptors: it stays attached while `link` is open.

    `program` is -1 unless the kernel counts its missed runs.
    """

    probe: str
    point: str
    kind: str
    target: str
    link: int
    program: int

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Probe, point, kind and target: all but the descriptors."""
        return self[:4]


class Without(Enum):
    """What to do if no alternative of a point can be attached."""

    NO_START = "no start"
    NO_PROBE = "no probe"
    NO_POINT = "no point"


class Point(NamedTuple):
    """A moment that a probe wants to see.

    `alternatives` are in order of preference; either all programs of one are attached, or none.
    `what` names the moment, `lost` the loss without it, `fix` the remedy. If the first alternative
    was not taken, the reason goes to the field `note` of the log's line `watching`.

    `prove` gets the descriptors of the probe's maps once the point is attached. It raises
    NotAttachedError if the program does not run there, OSError if that cannot be tested. `try_out`
    does the same without the probe: it returns the problem and the fix, None for no problem.
    """

    name: str
    alternatives: tuple[tuple[Attach, ...], ...]
    what: str
    lost: str = ""
    fix: str = ""
    without: Without = Without.NO_START
    note: str = ""
    prove: Callable[[Attach, Mapping[str, int]], None] | None = None
    try_out: Callable[[Attach], tuple[str, str] | None] | None = None


class Counts(NamedTuple):
    """A Prometheus counter `tcp_trace_NAME_total`: one value for each row of labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)


class Probe(Protocol[SettingsT_contra]):
    """A source of events. It has no state: its users keep what they read."""

    @property
    def name(self) -> str:
        """Its name, for users, too: it is in the log and in metrics."""

    @property
    def source(self) -> str:
        """The C file, in bpf/."""

    def is_wanted(self, settings: SettingsT_contra, /) -> bool:
        """Return whether the configuration wants it: otherwise it is not attached."""

    def maps(self, settings: SettingsT_contra, /) -> Sequence[str]:
        """Return the maps of the C file whose descriptors user space needs."""

    def constants(self, settings: SettingsT_contra, /) -> Mapping[str, int | str]:
        """Return the constants of the C file."""

    def points(self, settings: SettingsT_contra, /) -> Sequence[Point]:
        """Return its points, in the order in which they are attached."""

    def decode(self, record: bytes, /) -> Any:  # noqa: ANN401 - each has its own events
        """Return the event in one record of the C file."""

    def counts(self, maps: Mapping[str, int], settings: SettingsT_contra, /) -> Sequence[Counts]:
        """Return its metrics, read from its maps by their descriptors."""
