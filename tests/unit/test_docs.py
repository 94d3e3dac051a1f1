"""What is written for people is true: tables, commands, files, names."""

from __future__ import annotations

import html
import itertools
import json
import logging
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from benchmarks.table import page
from docs import picture, tables
from tcp_trace import __version__
from tcp_trace.connects.events import Begun, Destination, Established, Failure, Process, Transition
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase
from tcp_trace.log import lines
from tcp_trace.log.logs import EACH
from tcp_trace.notify import titles
from tcp_trace.settings.variables import VARIABLES
from tests.unit.test_benchmarks import results

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
LOG = (ROOT / "docs/LOG.md").read_text()
# `make` writes these from what it measured. Until the first release they may not be there yet.
MEASURED = ("benchmarks/RESULTS.md", "docs/ACCURACY.md", "docs/RELIABILITY.md")
PAGES = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING, "CHANGELOG.md": CHANGELOG} | {
    name: path.read_text()
    for path in sorted((ROOT / "docs").glob("*.md"))
    if (name := f"docs/{path.name}") not in MEASURED
}
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every command of the pages: lines of shell blocks, and code spans that look so."""
    found = []
    for text in PAGES.values():
        for language, block in FENCED.findall(text):
            if language == "sh":
                found += block.replace("\\\n", " ").splitlines()
        found += re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    return [re.sub(r"\s+#.*", "", line).strip() for line in found]


def words_after(name: str) -> set[str]:
    """Return what follows a command's name wherever the pages say that command."""
    following = set()
    for command in commands():
        for part in re.split(r"&&|;|\|", command):
            words = shlex.split(part) if part.count("'") % 2 == 0 else part.split()
            if name in words[:-1] and words.index(name) <= 2:
                following.add(words[words.index(name) + 1])
    return following


def anchor(heading: str) -> str:
    """Return the name that GitHub gives a heading."""
    plain = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def section(title: str) -> str:
    """Return a section of the README."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def exists(path: Path) -> bool:
    """Tell whether a file is there, or will be before the first release."""
    name = str(path.resolve().relative_to(ROOT.resolve()))
    written = name in MEASURED and f"write {name}" in MAKEFILE
    return path.exists() or (written and " - unreleased\n" in CHANGELOG)


def anchors(text: str) -> set[str]:
    """Return the names of a page's headings."""
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def first_cells(title: str) -> set[str]:
    """Return the code spans in the first cells of a section's tables."""
    rows = re.findall(r"^\| (.*?) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_tables_are_those_of_the_code() -> None:
    """The README's generated parts are what `python3 -m docs.tables` writes."""
    assert tables.filled(README) == README, "run: python3 -m docs.tables"


def test_a_part_without_its_comments_is_an_error() -> None:
    """A README that lost the place of a part is not silently left without it."""
    with pytest.raises(ValueError, match="reasons"):
        tables.filled(README.replace("<!-- reasons: end -->", ""))


def test_cost_quotes_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part on cost has the verdict and the main figures of the benchmark's page."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "RESULTS.md")
    assert "|" not in tables.cost()
    measured = page(results(), command="make bench", date="2026-01-31", accel="kvm")
    tables.RESULTS.write_text(measured)
    told = tables.cost()
    assert told.startswith("Measured on 2026-01-31 by `make bench`")
    assert "| this service, EVENTS=failures | 2.0 ms (0) | 30.0 | 0 | 0 |\n" in told
    assert "| lost records, all three modes | 0 | 0 | yes |\n" in told
    assert "start-up, s" not in told


def test_variables_are_documented() -> None:
    """The README names every variable, tells apart those of a restart, and names no other."""
    assert first_cells("Configure") == {item.name for item in VARIABLES}
    (restart,) = re.findall(
        r"((?:`[A-Z_]+`(?:,| and)?\s)+)need `systemctl restart`", section("Configure")
    )
    at_start = {item.name for item in VARIABLES if item.at_start}
    assert set(re.findall(r"[A-Z_]{2,}", restart)) == at_start


def test_reasons_are_documented() -> None:
    """The README has a row for every reason, and for no other."""
    assert first_cells("Reasons") == {reason.value for reason in Reason}


def test_messages_are_documented() -> None:
    """The README shows each kind of message with its symbol."""
    rows = re.findall(r"^\| (\S+) `", section("Messages"), re.MULTILINE)
    assert rows == [titles.SYMBOLS[kind] for kind in Phase]


def test_log_lines_are_those_of_the_code() -> None:
    """Every message that the page on the log explains is written by the code."""
    code = "".join(path.read_text() for path in (ROOT / "tcp_trace").rglob("*.py"))
    table = LOG.partition("\n## Lines\n")[2]
    messages = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    names = [name for cell in messages for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) > 10
    assert [name for name in names if f'"{name}' not in code] == []


def test_fields_are_those_of_the_code(caplog: pytest.LogCaptureFixture) -> None:
    """The page on the log explains every field of a connect's lines, and no other."""
    transition = Transition(
        1, 2, 3, 4.0, 7, 2, Destination("192.0.2.1", 9), "", 0, Process(1, "a", 0, 0, 0), 0, 0, 0
    )
    failure = Failure(Destination("192.0.2.1", 9), Reason.REFUSED, 111, 1, None, None, 1, 0.0, 0.0)
    with caplog.at_level(logging.INFO, "tcp_trace.connect"):
        lines.write_outcomes([Begun(transition), Established(transition, 0.1)])
        lines.write_failures([failure])
        lines.write_transitions([transition])
    each = [getattr(record, EACH) for record in caplog.records]
    written = {name for fields in itertools.chain(*each) for name in fields}
    (shown, example) = (
        json.loads(block)
        for text in (section("What is logged"), LOG)
        for language, block in FENCED.findall(text)
        if language == "json"
    )
    assert shown == example
    assert set(example) - {"timestamp", "level", "logger", "message"} == set(each[2][0])
    table = LOG.partition("\n## Fields of a connect\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == written


def test_goals_of_make_exist() -> None:
    """Every `make GOAL` of the pages is a goal, and make's own list has all of them."""
    said = words_after("make")
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"demo", "test", "install", "uninstall", "bench"} <= said
    assert said <= set(re.findall(r"make (\S+)", listed))


def test_commands_exist() -> None:
    """Every `tcp-trace COMMAND` of the pages is one that --help lists."""
    said = words_after("tcp-trace")
    program = ["/usr/bin/python3", "-m", "tcp_trace", "--help"]
    told = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    listed = set(re.findall(r"^    ([a-z-]+)\b", told, re.MULTILINE))
    assert {"check", "test-alert", "run"} <= said
    assert said <= listed


def test_modules_that_are_run_exist() -> None:
    """Every `python3 -m MODULE` of the pages is in the project, pytest and its paths included."""
    for command in commands():
        if found := re.search(r"python3 -m (\S+)(.*)", command):
            module = found[1].replace(".", "/")
            paths = [ROOT / module, ROOT / f"{module}.py"]
            if found[1] == "pytest":
                paths = [ROOT / found[2].split()[0]]
            assert any(path.exists() for path in paths), command


def test_packages_to_install_are_those_of_the_tool() -> None:
    """The README has apt install what tools/packages says is needed to run it."""
    (line,) = (one for one in commands() if "python3-bpfcc python3-requests" in one)
    named = {word for word in line.split() if not word.startswith("-")}
    script = (ROOT / "tools/packages").read_text()
    wanted = set(re.findall(r"demo=\(([^)]*)\)", script)[0].split())
    network_of_the_demo = {"iproute2", "nftables"}
    assert wanted - network_of_the_demo <= named


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page is a file, every anchor a heading of the page it names."""
    text, here = PAGES[page], (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, name = target.partition("#")
        assert exists(here / path), target
        led_to = (here / path).read_text() if path and name else text
        assert not name or name in anchors(led_to), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    """What a page calls a file of the project is one."""
    places = "bpf|tcp_trace|systemd|logrotate|tools|tests|docs"
    named = re.findall(rf"`((?:{places})/[\w./-]*)`", PAGES[page])
    assert [name for name in named if not exists(ROOT / name)] == []


def test_the_picture_shows_the_payloads() -> None:
    """The page that is photographed has every word of what Slack gets, and is this one."""
    posted = picture.messages()
    assert len(posted) == 2
    shown = html.unescape(re.sub(r"<style>.*</style>|<[^>]+>", " ", picture.page(posted)))
    for message in posted:
        text = re.sub(r"just now|\w+ \w+ ago|\(host ", "", message.payload["text"])
        words = re.findall(r"[\w.:-]*[\w]", text)
        assert len(words) > 20
        assert [word for word in words if word not in shown] == []
    png = (ROOT / "docs/slack-message.png").read_bytes()
    assert len(png) < 100_000
    assert png.endswith(picture.mark(picture.page(posted))), "run python3 -m docs.picture"


def test_changelog_knows_this_version() -> None:
    """The version has its section."""
    assert f"\n## [{__version__}] - " in CHANGELOG


def test_every_defence_has_its_test() -> None:
    """Every row of attacks on the page on security names tests that exist."""
    rows = re.findall(r"^\| (?!---|attack|part).* \|$", PAGES["docs/SECURITY.md"], re.MULTILINE)
    held = [re.findall(r"`(test_\w+)`", row) for row in rows if row.count("|") == 4]
    assert len(held) > 15
    assert all(held)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for names in held for name in names if f"def {name}(" not in tests} == set()
