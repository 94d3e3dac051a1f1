"""The results as the page people read: benchmarks/RESULTS.md. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import LONG, NOTHING, REFUSED, REFUSED_CONNECTS, SHORT, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.figures import Cost, Results, Rounds

_HOW = f"""\
CPU is all that a contender's processes used, user and system, from the start of a load until they
are idle again: milliseconds as its cgroup counts them (`cpu.stat`, to the microsecond), and in
brackets clock ticks of 10 ms as `/proc/PID/stat` counts them. What the kernel does for it in the
context of the programs that connect is not in there; it shows in the load's own duration.
Start-up is until it watches: `READY=1` of this service, the word `ready` of the plain design; BCC's
tools are ready when they sleep in poll(2) with a perf ring open, as their header is still in a
buffer then. Resident memory is `VmRSS` after all loads. Lost are records that a full ring could not
take: the service counts them itself, BCC tells them on stderr. A false alarm is a failure told of a
connect that succeeded; told of refused are failures told of the {REFUSED_CONNECTS:,} connects that
were refused (of tcpstates: the lines that go from SYN_SENT to CLOSE; tcpconnlat and tcptracer do
not tell success from failure, or tell of no failure at all). A load is 100 connects at a time over
loopback, each closed as soon as its outcome is known; all contenders have the same loads in the
same order, one after the other, on a machine with nothing else to do."""


def page(results: Results, *, command: str, date: str, accel: str) -> str:
    """Return the whole page, in Markdown. `accel` says how the machine was executed."""
    emulated = "emulated, without hardware virtualisation" if accel == "tcg" else accel
    introduction = (
        f"Measured on {date} by `{command}`, in one run: kernel {results.kernel}, BCC "
        f"{results.bcc}, {results.cpu} ({emulated}). Times of an emulated machine are long; "
        "the ratios are what counts."
    )
    return "\n".join(
        [
            "# What it costs, beside what others cost",
            "",
            introduction,
            "",
            "## Wanted and measured",
            "",
            *_wanted(results),
            "",
            "## Figures",
            "",
            *_figures(results),
            "",
            _HOW,
            "",
            "## The load beside the service",
            "",
            *_rounds(results.rounds),
            "",
        ]
    )


def _wanted(results: Results) -> list[str]:
    rows = [
        (v.figure, v.wanted, v.measured, "yes" if v.met else "**missed**")
        for v in verdicts(results)
    ]
    return _table(("figure", "wanted", "measured", "reached"), rows)


def _figures(results: Results) -> list[str]:
    header = (
        "",
        "start-up, s",
        f"CPU, {SHORT} successful",
        f"CPU, {LONG} successful",
        f"CPU, {REFUSED}",
        "resident, MB",
        "lost",
        "false alarms",
        "told of refused",
        f"load {SHORT}, s",
        f"load {LONG}, s",
    )
    return _table(header, [_row(name, cost) for name, cost in results.costs.items()])


def _row(name: str, cost: Cost) -> Sequence[str]:
    measured = name != NOTHING
    return (
        name,
        "-" if cost.startup is None else f"{cost.startup:.1f}",
        *(_cpu(cost, workload) if measured else "-" for workload in (SHORT, LONG, REFUSED)),
        "-" if cost.resident_kb is None else f"{cost.resident_kb / 1024:.1f}",
        _count(cost.lost),
        _count(cost.false_alarms),
        _count(cost.reported),
        *(f"{cost.samples[workload].seconds:.1f}" for workload in (SHORT, LONG)),
    )


def _cpu(cost: Cost, workload: str) -> str:
    sample = cost.samples[workload]
    milliseconds = f"{sample.cpu_ms:,.1f}" if sample.cpu_ms < 100 else f"{sample.cpu_ms:,.0f}"
    return f"{milliseconds} ms ({sample.ticks:,})"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _rounds(rounds: Rounds) -> list[str]:
    introduction = (
        f"{SHORT} connects with nothing running, beside two programs that do nothing on the same "
        "hooks (a kprobe and a raw tracepoint: the least that any tool there costs), and beside "
        "the service in default mode, in turn. The medians' ratio to nothing is "
        f"{rounds.slowdown(rounds.idle):.3f} for the idle programs and "
        f"{rounds.slowdown(rounds.service):.3f} for the service. So much or more comes by chance "
        f"alone with a probability of {rounds.chance(rounds.idle):.1%} and "
        f"{rounds.chance(rounds.service):.1%} (exact permutation test); below 5 % it counts as "
        "measurably slower. What it is on a machine that is not emulated: [NATIVE.md](NATIVE.md)."
    )
    return [
        introduction,
        "",
        *_table(
            ("round", *(str(number) for number in range(1, len(rounds.nothing) + 1))),
            [
                ("nothing, s", *(f"{seconds:.2f}" for seconds in rounds.nothing)),
                ("idle programs, s", *(f"{seconds:.2f}" for seconds in rounds.idle)),
                ("service, s", *(f"{seconds:.2f}" for seconds in rounds.service)),
            ],
        ),
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
