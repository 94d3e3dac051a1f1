"""What a probe says of itself, and nothing about how that is carried out.

A probe is a C file and a Python module. The C file has programs and maps; the module says what the
programs hang on, what else they need, and how the bytes that come out of them are read.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class StartError(Exception):
    """The service cannot start on this host; the text says why and what to do."""


class NotAttachedError(Exception):
    """A program cannot be attached, or is not run where it is; the text says why."""


class Kind(Enum):
    """What a program can hang on."""

    KPROBE = "kprobe"
    RAW_TRACEPOINT = "tracepoint"
    FEXIT = "fexit"
    ITERATOR = "iterator"


class Attach(NamedTuple):
    """One program and what it hangs on.

    `target` is a kernel function, a tracepoint (`sock:inet_sock_set_state`) or what an iterator
    goes over. `function` is the program in the C file: its name, or what stands in
    KRETFUNC_PROBE() or BPF_ITER(), which may be another function with the same arguments.
    """

    kind: Kind
    target: str
    function: str

    @property
    def name(self) -> str:
        """What the kernel calls the target: a tracepoint without its group."""
        return self.target.rpartition(":")[2]

    def __str__(self) -> str:
        """`kprobe on tcp_set_state`, `tracepoint sock:inet_sock_set_state`."""
        between = " on " if self.kind is Kind.KPROBE else " "
        return f"{self.kind.value}{between}{self.target}"


class Attached(NamedTuple):
    """One program at work, by its descriptors: it hangs there while `link` is open.

    `program` is -1 but where the kernel counts for it how often it was not run.
    """

    probe: str
    point: str
    kind: str
    target: str
    link: int
    program: int

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What it hangs on, and for what: all of it but the descriptors."""
        return self[:4]


class Without(Enum):
    """What becomes of the start where none of a point's alternatives can be attached."""

    NO_START = "no start"
    NO_PROBE = "no probe"
    NO_POINT = "no point"


class Point(NamedTuple):
    """A moment that a probe wants to see.

    `alternatives` are in order of preference; all programs of one are attached, or none. `what` is
    the moment in words, `lost` says what is not known without it, `fix` what to do then. The log's
    line `watching` has a field `note` with the reason where the first alternative was not taken.

    `prove` is given the descriptors of the probe's maps when the point is attached: it raises
    NotAttachedError where nothing is seen there, OSError where that cannot be found out. `try_out`
    does the same without the probe: it returns what is amiss and what to do, None for nothing.
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
    """A counter of Prometheus's: `tcp_trace_NAME_total`, a value for each row of labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)


class Probe(Protocol[SettingsT_contra]):
    """A source of events. Without state: what was read is kept by whoever reads it."""

    @property
    def name(self) -> str:
        """What it is called, by users, too: it is in the log and in metrics."""

    @property
    def source(self) -> str:
        """The C file, in bpf/."""

    def is_wanted(self, settings: SettingsT_contra, /) -> bool:
        """Tell whether a configuration asks for it: what is not asked for is not attached."""

    def maps(self, settings: SettingsT_contra, /) -> Sequence[str]:
        """Return the maps of the C file that are used by their descriptors afterwards."""

    def constants(self, settings: SettingsT_contra, /) -> Mapping[str, int | str]:
        """Return the constants of the C file."""

    def points(self, settings: SettingsT_contra, /) -> Sequence[Point]:
        """Return what it hangs on, in the order in which that is attached."""

    def decode(self, record: bytes, /) -> Any:  # noqa: ANN401 - each has its own events
        """Return the event in one record of the C file's."""

    def counts(self, maps: Mapping[str, int], settings: SettingsT_contra, /) -> Sequence[Counts]:
        """Return what the metrics say of it, by the descriptors of its maps."""
