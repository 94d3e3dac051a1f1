"""Compiles, loads and attaches probes: decides which alternative each point gets.

All wanted probes are compiled in one piece, which is cheapest. A program that is an alternative, or
that a kernel may refuse, is compiled only if wanted: its C is inside `#ifdef WITH_` and its name.
Code for another probe is inside `#ifdef PROBE_` and that probe's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.kernel import features, gate, layout, source
from tcp_trace.kernel.compiler import Module, Unit
from tcp_trace.kernel.contract import Attached, Kind, NotAttachedError, StartError, Without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tcp_trace.kernel.contract import Attach, Point, Probe
    from tcp_trace.kernel.layout import Layout


# The gate's name in the C. It is replaced in the text, not by a macro: BCC rewrites a call on a map
# at its place in the source.
_GATE = "the_gate"

NO_RETURNS = "this kernel cannot watch {} return (BPF trampolines)"


class Loaded(NamedTuple):
    """The loaded programs and maps.

    `maps` are descriptors by probe and name; `notes` go to the log, by the points' `note`: why
    something was not attached or could not be tested. `unit` is the compiled text.
    """

    module: Module
    attached: tuple[Attached, ...]
    maps: dict[str, dict[str, int]]
    notes: dict[str, str]
    unit: Unit
    layout: Layout
    made_of: gate.Inputs
    digest: str

    @property
    def gate(self) -> int:
        """The descriptor of the gate, if the programs have one."""
        return self.module.map_fd(gate.name_of(self.digest))


class Plan:
    """The alternatives still to be tried, for each point of each probe."""

    def __init__(self, probes: Sequence[Probe[Any]], settings: Any) -> None:  # noqa: ANN401
        self.probes = list(probes)
        self._maps = {probe.name: probe.maps(settings) for probe in probes}
        self.notes: dict[str, str] = {}
        self._points = {probe.name: list(probe.points(settings)) for probe in probes}
        self._left = {
            (probe, point.name): list(point.alternatives)
            for probe, points in self._points.items()
            for point in points
        }
        self._reasons: dict[tuple[str, str], list[str]] = {}

    def points(self) -> Iterator[tuple[Probe[Any], Point]]:
        """Yield the points that have an alternative left."""
        for probe in self.probes:
            for point in self._points[probe.name]:
                if self._left[probe.name, point.name]:
                    yield probe, point

    def first(self, probe: Probe[Any], point: Point) -> tuple[Attach, ...]:
        """Return the alternative to try next; empty for none."""
        left = self._left[probe.name, point.name]
        return left[0] if left else ()

    def flags(self) -> tuple[str, ...]:
        """Return the compiler's flags for the wanted probes and programs."""
        functions = {a.function for each in self.points() for a in self.first(*each)}
        probes = (f"-DPROBE_{probe.name.upper()}" for probe in self.probes)
        return (*probes, *(f"-DWITH_{function}" for function in sorted(functions)))

    def attaches(self) -> Iterator[Attach]:
        """Yield every attachment that may be tried."""
        for alternatives in self._left.values():
            for alternative in alternatives:
                yield from alternative

    def expected(self) -> list[Attached]:
        """Return the attachments, should all that are tried next succeed."""
        return [
            Attached(probe.name, point.name, attach.kind.value, attach.name, -1, -1)
            for probe, point in self.points()
            for attach in self.first(probe, point)
        ]

    def fds(self, module: Module, probe: Probe[Any]) -> dict[str, int]:
        """Return the descriptors of a probe's maps."""
        return {name: module.map_fd(name) for name in self._maps[probe.name]}

    def drop(self, probe: Probe[Any], point: Point, why: str) -> None:
        """Drop the alternative that failed. Raises StartError if the start needs it."""
        left = self._left[probe.name, point.name]
        left.pop(0)
        reasons = self._reasons.setdefault((probe.name, point.name), [])
        reasons.append(why)
        if not left and point.without is Without.NO_START:
            raise StartError("; ".join(filter(None, (*reasons, point.fix))))
        if point.note:
            self.notes[point.note] = "; ".join(reasons)
        if not left and point.without is Without.NO_PROBE:
            self.probes.remove(probe)


def load(
    probes: Sequence[Probe[Any]],
    settings: Any,  # noqa: ANN401 - the probes' own
    common: Mapping[str, int | str],
    directory: Path,
) -> Loaded:
    """Compile, load and attach these probes.

    `common` are constants of all probes; `directory` has the C. Raises StartError if a probe that
    the start needs cannot be attached.
    """
    plan = Plan(probes, settings)
    text = source.text_of((probe.source for probe in probes), directory)
    targets = [attach.target for attach in plan.attaches() if attach.kind is Kind.FEXIT]
    found = layout.read(source.fields(text), targets)
    _leave_out(plan, found)
    made_of = inputs(probes, settings, common, directory)
    while True:
        digest = gate.digest(made_of, plan.expected())
        unit = unit_of(plan, settings, common, directory, found)
        named = unit._replace(text=unit.text.replace(_GATE, gate.name_of(digest)))
        module = _compiled(named)
        if named != unit:
            gate.write(module.map_fd(gate.name_of(digest)), gate.Role.OPEN)
        attached = _attach(module, plan)
        if attached is not None:
            maps = {probe.name: plan.fds(module, probe) for probe in plan.probes}
            return Loaded(module, attached, maps, plan.notes, unit, found, made_of, digest)
        module.close()


def inputs(
    probes: Sequence[Probe[Any]],
    settings: Any,  # noqa: ANN401 - the probes' own
    common: Mapping[str, int | str],
    directory: Path,
) -> gate.Inputs:
    """Return the inputs of these probes, without asking the kernel."""
    constants: dict[str, int | str] = {**common}
    for probe in probes:
        constants.update(probe.constants(settings))
    wanted = [
        (probe.name, point.name, point.alternatives)
        for probe in probes
        for point in probe.points(settings)
    ]
    text = source.text_of((probe.source for probe in probes), directory)
    return gate.inputs(text, constants, wanted)


def unit_of(
    plan: Plan,
    settings: Any,  # noqa: ANN401 - the probes' own
    common: Mapping[str, int | str],
    directory: Path,
    found: Layout,
) -> Unit:
    """Return the unit to compile."""
    constants: dict[str, int | str] = {**common}
    for probe in plan.probes:
        constants.update(probe.constants(settings))
    defined = (f"-D{name}={value}" for name, value in constants.items())
    text = source.text_of((probe.source for probe in plan.probes), directory)
    tree = directory / "kernel" if found.source == "btf" else None
    return Unit(text, (*found.flags, *defined, *plan.flags()), tree)


def _leave_out(plan: Plan, found: Layout) -> None:
    """Drop alternatives that this kernel lacks, if that shows before compiling."""
    for probe, point in list(plan.points()):
        while alternative := plan.first(probe, point):
            lacking = [features.lacks(attach, found.functions) for attach in alternative]
            why = next(filter(None, lacking), None)
            if why is None:
                break
            plan.drop(probe, point, _in_words(point, alternative, why))


def _compiled(unit: Unit) -> Module:
    try:
        return Module(unit)
    except StartError:
        raise
    except Exception as error:  # BCC raises nothing narrower
        raise StartError(
            f"cannot compile the kernel program or create its maps ({error}); "
            "run 'tcp-trace check' and see the lines above"
        ) from error


def _attach(module: Module, plan: Plan) -> tuple[Attached, ...] | None:
    """Attach all points; None if another unit must be compiled for the alternatives left."""
    attached: list[Attached] = []
    for probe, point in list(plan.points()):
        done = None
        while done is None:
            alternative = plan.first(probe, point)
            if not alternative or not all(map(module.program_of, alternative)):
                return None
            try:
                done = _attach_all(module, alternative)
                _prove(module, plan, probe, point)
            except NotAttachedError as error:
                if done:
                    _detach(module, done)
                    done = None
                plan.drop(probe, point, _in_words(point, alternative, str(error)))
        attached += [
            Attached(probe.name, point.name, attach.kind.value, attach.name, *fds)
            for attach, fds in zip(alternative, done, strict=True)
        ]
    return tuple(attached)


def _attach_all(module: Module, alternative: tuple[Attach, ...]) -> list[tuple[int, int]]:
    """Return descriptors of links and programs. Raises NotAttachedError, leaving none."""
    done: list[tuple[int, int]] = []
    try:
        for attach in alternative:
            done.append(module.attach(attach))  # noqa: PERF401 - needed if the next one fails
    except NotAttachedError:
        _detach(module, done)
        raise
    return done


def _detach(module: Module, done: list[tuple[int, int]]) -> None:
    for link, _ in done:
        module.detach(link)


def _prove(module: Module, plan: Plan, probe: Probe[Any], point: Point) -> None:
    if point.prove is None:
        return
    try:
        point.prove(plan.first(probe, point)[0], plan.fds(module, probe))
    except OSError as error:
        plan.notes["unproven"] = f"the {point.name} could not be tested: {error.strerror}"


def _in_words(point: Point, alternative: tuple[Attach, ...], why: str) -> str:
    return NO_RETURNS.format(point.what) if alternative[0].kind is Kind.FEXIT else why
