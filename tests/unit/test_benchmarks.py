"""The benchmark's pure parts: what it reads out of what a contender told, and how it judges."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import contenders, figures, native
from benchmarks.figures import (
    ALL,
    FAILURES,
    NOTHING,
    PLAIN,
    TCPCONNLAT,
    TCPSTATES,
    Cost,
    Results,
    Rounds,
    Sample,
    verdicts,
)
from benchmarks.load import OPEN_PORT, REFUSED_PORT, Load, listening, refusing
from benchmarks.table import page


def cost(cpu_ms: float, **changed: object) -> Cost:
    """Return what a contender costs that needs `cpu_ms` for every load and is right in all else."""
    sample = Sample(cpu_ms, round(cpu_ms / 10), 7.0)
    known: dict[str, object] = {
        "startup": 4.0,
        "resident_kb": 30 * 1024,
        "lost": 0,
        "false_alarms": 0,
        "reported": 1_000,
        "samples": dict.fromkeys((figures.SHORT, figures.LONG, figures.REFUSED), sample),
    }
    return Cost(**{**known, **changed})  # type: ignore[arg-type]


def results(**costs: Cost) -> Results:
    """Return results that reach every wanted figure, but for the costs given."""
    return Results(
        kernel="6.1.0",
        bcc="0.26.0",
        cpu="2 x model",
        costs={
            NOTHING: cost(0, startup=None, resident_kb=None, lost=None),
            FAILURES: costs.get("failures", cost(2)),
            figures.ATTEMPTS: cost(600),
            ALL: costs.get("every", cost(900)),
            TCPSTATES: cost(1_000),
            TCPCONNLAT: cost(500),
            figures.TCPTRACER: cost(700),
            PLAIN: costs.get("plain", cost(4_000, startup=30.0)),
        },
        rounds=Rounds(
            nothing=(7.0, 7.2, 7.4, 7.6), idle=(7.0, 7.3, 7.4, 7.6), service=(7.1, 7.3, 7.5, 7.5)
        ),
    )


def missed(measured: Results) -> list[str]:
    """Return the wanted figures that are not reached."""
    return [verdict.figure for verdict in verdicts(measured) if not verdict.met]


def test_everything_reached_is_told_as_reached() -> None:
    """Figures that are all at most as wanted are missed in nothing."""
    assert missed(results()) == []


@pytest.mark.parametrize(
    ("changed", "figure"),
    [
        ({"failures": cost(10.01)}, f"default mode : {TCPCONNLAT}"),
        ({"plain": cost(399, startup=30.0)}, f"default mode : {PLAIN}"),
        ({"every": cost(1_001)}, f"EVENTS=all : {TCPSTATES}"),
        ({"plain": cost(4_000, startup=11.9)}, "start-up"),
        ({"failures": cost(2, resident_kb=35 * 1024 + 1)}, "resident"),
        ({"every": cost(900, lost=1)}, "lost records"),
        ({"failures": cost(2, false_alarms=1)}, "false alarms"),
        ({"failures": cost(2, reported=999)}, "refused"),
        ({"failures": cost(2, reported=1_001)}, "refused"),
    ],
)
def test_a_figure_not_reached_is_missed(changed: dict[str, Cost], figure: str) -> None:
    """A figure just beyond the wanted one is told as missed, and no other one is."""
    found = missed(results(**changed))
    assert found
    assert all(figure in name for name in found)


def test_a_load_that_is_always_slower_is_measurably_slower() -> None:
    """Rounds without any overlap are no chance: 1 arrangement of the 70 is as slow."""
    rounds = Rounds(
        nothing=(7.0, 7.1, 7.2, 7.3), idle=(7.0, 7.1, 7.2, 7.3), service=(7.4, 7.5, 7.6, 7.7)
    )
    assert rounds.chance(rounds.service) == pytest.approx(1 / 70)
    assert missed(replace(results(), rounds=rounds)) == [
        "the load's duration beside the service : with nothing running"
    ]


def test_equal_loads_differ_by_chance() -> None:
    """Rounds that took the same time are as slow as most arrangements of them."""
    rounds = Rounds(nothing=(7.1, 7.3), idle=(7.1, 7.3), service=(7.3, 7.1))
    assert rounds.slowdown(rounds.service) == 1
    assert rounds.chance(rounds.service) == pytest.approx(5 / 6)


def test_results_survive_json() -> None:
    """The results that leave the machine as JSON are those that were measured."""
    measured = results()
    assert Results.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured


def test_the_page_shows_what_was_missed() -> None:
    """The page has a row for every wanted figure and contender, and marks the missed ones."""
    text = page(results(every=cost(2_000)), command="make bench", date="2026-01-31", accel="tcg")
    assert text.count("**missed**") == 2
    assert (
        "| CPU for 5,000 successful connects, default mode : plain design | ≤ 1/200 | 1/2,000 "
        in text
    )
    assert f"| {NOTHING} | - | - |" in text
    assert f"| {FAILURES} | 4.0 | 2.0 ms (0) |" in text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0, "0"), (1 / 240, "1/240"), (0.5, "0.50"), (1.5, "1.50")]
)
def test_ratios_are_written_as_people_read_them(ratio: float, text: str) -> None:
    """A small ratio is a fraction, another one a decimal."""
    assert figures.as_fraction(ratio) == text


def test_failures_of_the_service_are_read_from_its_log() -> None:
    """Only the lines that tell of a failed connect count, each to its port."""
    lines = [
        f'{{"message":"connect failed","dport":{REFUSED_PORT}}}',
        f'{{"message":"transition","dport":{OPEN_PORT},"comm":"connect failed"}}',
        f'{{"message":"connect failed","dport":{OPEN_PORT}}}',
        '{"message":"connect failed","dport":443}',
    ]
    assert contenders.count_failures(lines, contenders.service_failure) == (1, 1)


def test_failures_are_read_from_tcpstates() -> None:
    """A connect failed where a line goes from SYN_SENT to CLOSE, whatever the process's name."""
    row = "ffff9 1 a b c 127.0.0.1 40000 127.0.0.1 {} {} -> {} 0.004"
    lines = [
        "SKADDR C-PID C-COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS",
        row.format(REFUSED_PORT, "SYN_SENT", "CLOSE"),
        row.format(OPEN_PORT, "SYN_SENT", "ESTABLISHED"),
        row.format(OPEN_PORT, "LAST_ACK", "CLOSE"),
    ]
    assert contenders.count_failures(lines, contenders.tcpstates_failure) == (0, 1)


def test_failures_are_read_from_the_plain_design() -> None:
    """The plain design's words for a failure are understood; a webhook's error is none."""
    lines = [
        f"2026 connect to 127.0.0.1 port {REFUSED_PORT} failed: python3 (pid 7)",
        "2026 webhook: ConnectionError",
    ]
    assert contenders.count_failures(lines, contenders.plain_failure) == (0, 1)


def test_lost_records_are_added_up() -> None:
    """BCC tells each loss by itself; the service tells the sum as it stops, and must tell it."""
    errors = "Possibly lost 12 samples\nsomething else\nPossibly lost 3 samples\n"
    assert contenders.lost_by_bcc("", errors) == 15
    assert contenders.lost_by_service('{"message":"x"}\n{"message":"stopped","lost":4}\n', "") == 4
    with pytest.raises(ValueError, match="no line"):
        contenders.lost_by_service('{"message":"watching"}\n', "")


def test_what_a_connect_costs_is_told_beside_what_counting_costs() -> None:
    """The page has the medians of the idle programs and of the service, and their chance."""
    idle = [native.Beside(1.0, 600.0), native.Beside(1.1, 700.0), native.Beside(1.2, 620.0)]
    service = [native.Beside(2.0, 1400.0), native.Beside(2.2, 1200.0), native.Beside(2.4, 9000.0)]
    told = native.page("tracepoint", "0.1 on 2 CPUs", [1.0, 1.1, 1.2], idle, service)
    assert "| two idle programs | 620 | 1.000 | 70.0% |" in told
    assert "| this service | 1,400 | 2.000 | 5.0% |" in told
    assert "takes 55.0 us. The load average before was 0.1 on 2 CPUs" in told


def test_the_load_makes_every_connect() -> None:
    """All connects are made, and each is counted once by what became of it."""
    with listening(OPEN_PORT):
        load = Load(OPEN_PORT, 230, 23)
        assert load.run() > 0
    assert (load.established, load.refused, load.other) == (230, 0, 0)
    with refusing(REFUSED_PORT):
        load = Load(REFUSED_PORT, 23, 100)
        load.run()
    assert (load.established, load.refused, load.other) == (0, 23, 0)
