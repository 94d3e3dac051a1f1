"""Every number that a page states is the one in force."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tcp_trace.commands import silencing
from tcp_trace.connects import coverage, heard, watch
from tcp_trace.host import unprivileged
from tcp_trace.incidents import memory, overview, policy
from tcp_trace.kernel import rings, source
from tcp_trace.log import repeats, sinks
from tcp_trace.notify import answers, channel, render, store, wire
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.queue import Limits
from tcp_trace.probes import connect, registry
from tcp_trace.probes.names import NAMES_MAX
from tcp_trace.probes.shapes import TRANSITION
from tcp_trace.service import daemon, exporter, heldback, messages, selfaudit, sweep
from tcp_trace.settings import values, variables

ROOT = Path(__file__).parents[2]
LOGROTATE = next((ROOT / "logrotate").iterdir()).read_text()
UNIT = (ROOT / "systemd/tcp-trace.service").read_text()
C = source.text_of((probe.source for probe in registry.PROBES), ROOT / "bpf")
RIVALS = re.findall(r"define RIVALS (\d+)", C)[0]
CLI = (ROOT / "tcp_trace/commands/parser.py").read_text()
VARIABLES = (ROOT / "tcp_trace/settings/variables.py").read_text()

P, LIMITS, PACING = policy.Policy(), Limits(), Pacing()
_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 10: "ten"}
_SPANS = {60: "a minute", 3_600: "an hour", 86_400: "a day"}


def word(number: float) -> str:
    """Return a number as prose has it."""
    return _WORDS.get(int(number), f"{number:g}")


def span(seconds: float) -> str:
    """Return a time as prose has it."""
    return _SPANS.get(int(seconds), f"{seconds:g} s")


def minutes(seconds: float) -> str:
    """Return minutes."""
    return f"{seconds / 60:g} min"


def written_out(seconds: float) -> str:
    """Return minutes in a word."""
    return f"{seconds / 60:g} minutes"


def first(pattern: str, text: str) -> str:
    """Return what a pattern finds in a file; a question mark is in no page."""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else "?"


def seconds(name: str) -> str:
    """Return the seconds of a constant of the kernel program in nanoseconds."""
    found = first(rf"define {name} +([0-9]+)ULL", C)
    return f"{int(found) / 1e9:g} s" if found.isdecimal() else found


def define(name: str, text: str) -> int:
    """Return the number that a constant of the kernel program is."""
    return int(first(rf"define {name}\s+([0-9]+)", text))


NAME_BYTES = define("NAME_BYTES", C) - 1
SHARED_SECONDS = define("SHARED_SECONDS", C)
WIDER = define("WIDER", C)
STUCK = minutes(PACING.dead_pause)
RING_MB = values.ring_mb(next(v.default for v in variables.VARIABLES if v.name == "RING_MB"))
RECORD = rings.HEADER.size + TRANSITION.size
# By page: each has to be there as it stands here, where its numbers come from the code. Of white
# space, code spans and emphasis nothing is compared.
PROMISES = {
    "README.md": [
        f"at least {P.critical_from} failures, and at least half of the attempts",
        (
            f"When {P.outage_subjects} destinations that worked are down together, or more fail"
            f" than work, or {P.known_burst} have opened within {word(P.burst_window / 60)} minutes"
        ),
        (
            f"{P.storm_subjects} within {P.storm_window:g} s do,"
            f" or {P.flood_subjects} within {word(P.quiet_factor)} times"
        ),
        f"(under {100 * P.well_share:g} %, or {P.degraded_factor:g} times its usual share)",
        f"in {render.DIGEST_LINES} lines at most",
        f"That it is critical now is said after {P.down_after:g} s, once",
        (
            f"{P.down_failures} failures in a row over {P.down_after:g} s (); one of a pool whose"
            f" others work: over {P.pool_after:g} s"
        ),
        (
            f"{P.degraded_failures} failures and {100 * P.degraded_share:g} % of the attempts"
            f" within {span(P.degraded_window).replace('60 s', 'a minute')}, in all of its thirds,"
            f" and {P.degraded_factor:g} times its usual share"
        ),
        f"tried no more | after {minutes(P.untried_after)}",
        f"{P.new_failures} failures in a row over {P.new_after:g} s, longer for a program",
        f"for {word(P.quiet_factor)} times . It may still be broken",
        (
            f"within {span(P.flap_window)} of its recovery must be well twice as long the next"
            f" time, up to {P.max_patience} times"
        ),
        f"waited for more than {span(PACING.delay_shown)} begins with and says how late",
        f"a delay, for up to {LIMITS.age / 86_400:g} days",
        f"tried within {minutes(PACING.longest_backoff)} of its return",
        f"as long as Slack asks ({minutes(answers.MAX_RETRY_AFTER)} at most)",
        f"tried again every {STUCK} and at each reload",
        f"a try is cut off after {channel.DEADLINE:g} s",
        f"{daemon.DRAIN_SECONDS:g} s to send what waits",
        f"up to {daemon._SAVE_GAP:g} s of counts",
        f"the last {word(store._KEPT_ASIDE)} are kept",
        (
            f"{LIMITS.rows:,} waiting messages, {LIMITS.size / 2**20:g} MiB,"
            f" {LIMITS.age / 86_400:g} days since their last change"
        ),
        f"{connect.ATTEMPTS:,} connects in flight ({connect.ATTEMPTS_ALL:,} with )",
        f"{connect.DESTINATIONS:,} destinations are counted at a time",
        f"{watch.RULES_MAX:,} rules fit in",
        f"keeps the last {first(r'rotate (.*)', LOGROTATE)} files, one a day",
    ],
    "docs/ALERTS.md": [
        f"else within {daemon._SAVE_GAP:g} s",
        f"The last {overview.RECENT} that ended",
        f"fails in {word(P.storm_namespaces)} namespaces within {minutes(P.quiet_after)} is told",
        f"critical from {P.critical_from} failures on when at least half of the attempts fail",
        f"without that it ends after {silencing.LONGEST_SECONDS / 86_400:g} days",
        f"saved every {written_out(sweep.SAVE_INTERVAL)} and when the service ends",
        f"costs {written_out(sweep.SAVE_INTERVAL)} of it at most",
        f"room for {memory.MOST:,} destinations",
        (
            f"with {P.down_failures} failures in a row over {P.down_after:g} s, or once"
            f" {P.degraded_failures} failures and {100 * P.degraded_share:g} % of the attempts fail"
        ),
        f"under {100 * P.well_share:g} % (or {P.degraded_factor:g} times the usual share)",
        f"alone, {P.known_burst} in ten minutes",
    ],
    "docs/LOG.md": [
        f"a name of over {NAME_BYTES} bytes",
        f"tried again after {written_out(sweep.SWEEP_INTERVAL)}",
        f"the queue ({sinks.LIMIT / 2**20:g} MiB) is full",
        f"Up to {coverage.TOLERANCE} connects may have been under way",
        {60.0: "Each minute is compared for itself"}[selfaudit.CHECK_INTERVAL],
        {60.0: "the metric is of the last minute"}[selfaudit.CHECK_INTERVAL],
        {3600.0: "shares of 1, of the last hour"}[selfaudit.INTERVAL],
        f"beside the {heldback.LINES} lines a second of those",
        f"have {repeats.LINES} lines in {repeats.INTERVAL:g} s",
        f"budget of {connect.BURST:,} failures at once and {connect.PER_SECOND} a second after",
        f"{word(WIDER)} times that in all",
    ],
    "docs/WEBHOOK.md": [
        (
            f"about one a second; one that does not answer within {channel.DEADLINE:g} s is tried"
            f" again, after {PACING.first_backoff:g} s to {minutes(PACING.longest_backoff)}"
        ),
        f"honoured up to {minutes(answers.MAX_RETRY_AFTER)})",
        f"tried again after {STUCK} or a reload",
        "told again every minute",
    ],
    "docs/TROUBLESHOOTING.md": [
        f"waits longer than {PACING.dead_pause / 60:g} minutes after the cause is gone",
        f"{RING_MB} MiB hold {RING_MB * 2**20 // RECORD // 1000},000 records",
    ],
    "docs/SECURITY.md": [
        f"{connect.BURST:,} failures at once, then {connect.PER_SECOND} a second",
        f"{exporter.MAX_CONNECTIONS} connections for {exporter.PATIENCE:g} s each",
        f"{wire.MAX_BYTES // 1024} KiB read, {channel.DEADLINE:g} s, one try",
        f"a sentence within {unprivileged.LIMITS.seconds:g} s, in a child",
    ],
    "docs/KERNEL.md": [
        f"at most {span(heard.LONGEST_SECONDS)} before",
        f"within the TTL or the last {span(SHARED_SECONDS).split()[1]}",
        f"(at most {span(heard.LONGEST_SECONDS)})",
        f"not reported for {span(heard.LONGEST_SECONDS)} if another one may have been evicted",
        f"checked every {daemon._HOUSEKEEPING:g} s",
        f"the {connect.DESTINATIONS:,} used last",
        f"Every {written_out(sweep.SWEEP_INTERVAL)} the service reads the entries",
        f"with more than {define('RECORDS_MAX', C)} records",
        f"of more than {define('OWNER_LABELS_MAX', C)} labels",
        f"{NAMES_MAX:,} names are kept",
        f"share {define('NAME_MARKS', C):,} slots",
        f"to a name over {NAME_BYTES} bytes (counted in )",
        f"each of up to {RIVALS} addresses a port",
        f"less than {seconds('RACE_END')} before, its process got through",
        f"both must have begun within {seconds('RACE_BEGIN')}.",
        f"lives on for {seconds('RACE_OUTLIVED')} after a success",
    ],
}
# What is measured, an example, or true of the world and not of this program.
OTHERWISE = {
    "README.md": [
        "all 38 connects failed",
        "was down for 6 min",
        "given up after 3 s and 2 SYNs",
        "make it 5 % longer, this service 11 %",
        "about 26 MB.",
        "which is 4 MB more from the start, and 6 MB once HTTPS was spoken",
    ],
    "docs/ALERTS.md": [
        "While silenced: 23 failures",
        "(6 s while 5,000 incidents are open)",
        "(about 0.4 MB)",
    ],
    "docs/WEBHOOK.md": [
        "ends it after its (5 min)",
        "100 hosts that lose one database send 100 messages",
    ],
    "docs/KERNEL.md": [
        f"3 ms at most each, 60 ms for {connect.DESTINATIONS:,}",
        "one of 11,689 failures came twice",
    ],
    "docs/TROUBLESHOOTING.md": ["needs 200 MB for some seconds"],
}
_UNITS = (
    "s|ms|min|h|d|seconds|minutes|hours|days|bytes|KiB|MiB|MB|GB|messages|destinations|failures"
    "|connects|rules|files|lines|addresses|names|records|webhooks|silences|incidents|times|threads"
)
NUMBER = re.compile(rf"(?<![\w.,:/-])\d[\d,.]*(?:\s|-| waiting )(?:{_UNITS})\b")


def prose(page: str) -> str:
    """Return a page without what is shown, generated, or code, in one line."""
    text = (ROOT / page).read_text()
    text = re.sub(r"<!-- (\w+): begin -->.*?<!-- \1: end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`|\*\*?", "", text))


def pattern(promise: str) -> str:
    """Return what finds a promise in a page: between words there may be code that is gone."""
    return r"[\s|]*".join(map(re.escape, promise.split()))


@pytest.mark.parametrize("page", PROMISES)
def test_what_is_promised_is_what_is_in_force(page: str) -> None:
    """Bounds and times that a page states come from the code's constants."""
    told = [*PROMISES[page], *OTHERWISE.get(page, ())]
    assert [promise for promise in told if not re.search(pattern(promise), prose(page))] == []


@pytest.mark.parametrize("page", PROMISES)
def test_no_number_is_without_its_constant(page: str) -> None:
    """What has a unit, and is in no promise above, is a number that nobody holds to the code."""
    text = prose(page)
    for promise in [*PROMISES[page], *OTHERWISE.get(page, ())]:
        text = re.sub(pattern(promise), " ", text)
    assert NUMBER.findall(text) == []


def test_what_words_promise() -> None:
    """Numbers that are written out: half, twice, once a minute, one a second."""
    assert P.critical_ratio == 0.5
    assert (PACING.rate, messages.STAND_INTERVAL) == (1.0, 60.0)
    assert "\tdaily\n" in LOGROTATE
    assert "A number alone means within a minute" in VARIABLES
    assert set(re.findall(r"within ([0-9]+) s", CLI)) <= {f"{daemon._SAVE_GAP:g}"}
    assert values.alert_after("3").window == 60.0


def test_the_size_of_the_ring() -> None:
    """How many failures fit in it by default, and that a burst of one second does."""
    assert f"{RING_MB} hold {RING_MB * 2**20 // RECORD // 1000},000." in VARIABLES
    assert f"takes {RECORD} bytes" in (ROOT / "tcp_trace/settings/values.py").read_text()
    assert 4 * 2**20 // RECORD > 20_000


def test_the_unit_waits_for_the_service() -> None:
    """The unit kills nothing that is still within its own time."""
    assert float(first(r"^TimeoutStopSec=(.*)", UNIT)) >= daemon.DRAIN_SECONDS + 5
    longest = PACING.idle + channel.DEADLINE
    assert float(first(r"^WatchdogSec=(.*)", UNIT)) > longest
