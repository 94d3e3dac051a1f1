"""`tcp-trace silence` as its users see it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest

from tcp_trace.commands import cli, loading
from tcp_trace.connects.events import Moment
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.policy import Policy
from tcp_trace.notify.outbox import Outbox
from tcp_trace.silences.silencefile import SilenceFile
from tcp_trace.silences.silences import Silences
from tests.seen import Always
from tests.unit.silences.test_silences import FAILURE

NOBODY = 65534


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state directory for the commands to use."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setattr(loading, "ENV_FILE", tmp_path / "none")
    return tmp_path


def silence(*args: str) -> int:
    """Run the command."""
    return cli.main(["silence", *args])


def test_add_list_remove(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A silence that is added is listed with what it means, until it is removed."""
    assert silence("add", "--for", "2h", "10.0.0.5:5432", "--reason", "refused") == 0
    told = capsys.readouterr().out
    name = told.partition(":")[0]
    assert "UTC (2 h 0 min)" in told or "UTC (2 h): 10.0.0.5:5432 reason=refused" in told
    assert silence("add", "--for", "30m", "--process", "psql", "--comment", "a\x1b[31m") == 0
    capsys.readouterr()
    assert silence("list") == 0
    listed = capsys.readouterr().out
    assert "10.0.0.5:5432 reason=refused" in listed
    assert "process=psql" in listed
    assert "a\\x1b[31m" in listed
    assert silence("remove", name) == 0
    assert f"{name}: no longer silenced: 10.0.0.5:5432 reason=refused" in capsys.readouterr().out
    assert [str(each.match) for each in SilenceFile(state).silences] == ["process=psql"]
    assert silence("remove", name) == 1
    assert "no silence has the id" in capsys.readouterr().err


def test_until_recovered(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is listed as such, lasts 30 days at most, and JSON says so."""
    assert silence("add", "--until-recovered", "DB.example.com:5432") == 0
    told = capsys.readouterr().out
    assert "silenced until its incident is over, for 30 d at most: db.example.com:5432" in told
    (added,) = SilenceFile(state).silences
    assert added.until_recovered
    assert added.ends - added.begins == 30 * 86_400
    assert silence("list") == 0
    listed = capsys.readouterr().out
    assert "recovered  at most 29 d 23 h" in listed
    assert "db.example.com:5432" in listed
    assert silence("list", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)["silences"]
    assert shown["until_recovered"] is True


@pytest.mark.parametrize("until", [(), ("--until-recovered", "--for", "2h")])
def test_an_end_is_one_of_two(until: tuple[str, ...], state: Path) -> None:
    """A time, or that it recovers."""
    with pytest.raises(SystemExit) as caught:
        silence("add", *until, "db.example.com:5432")
    assert caught.value.code == 2
    assert list(state.iterdir()) == []


def test_by_pod_and_container(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are as messages show them."""
    assert silence("add", "--for", "1h", "--pod", "6fd9*", "--container", "3f2a9c013f2a") == 0
    assert capsys.readouterr().out.endswith(": pod=6fd9* container=3f2a9c013f2a\n")
    (added,) = SilenceFile(state).silences
    assert (added.match.pods, added.match.containers) == (("6fd9*",), ("3f2a9c013f2a",))


@pytest.mark.parametrize(
    ("places", "shown"),
    [
        (("all", "10.0.0.1"), "all,10.0.0.1"),
        (("10.0.0.1,all",), "10.0.0.1,all"),
        ((":81",), ":81"),
        (("::/0",), "all"),
    ],
)
def test_what_is_accepted_is_listed(
    state: Path, places: tuple[str, ...], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything and one address, or a port of any address, are shown as they are written."""
    assert silence("add", "--for", "2h", *places) == 0
    assert capsys.readouterr().out.endswith(f": {shown}\n")
    assert silence("list") == 0
    assert f"    what {shown}\n" in capsys.readouterr().out
    assert [str(each.match) for each in SilenceFile(state).silences] == [shown]


def test_the_list_fits_the_terminal(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is silenced, and however it is explained, no line is wider than 80."""
    places = [f"10.0.{number}.1:5432" for number in range(40)]
    assert silence("add", "--for", "2h", *places, "--comment", "x" * 40 + " " + "y" * 150) == 0
    monkeypatch.setenv("MAINTENANCE", f"daily 01:00-02:00 {','.join(places)}")
    saved = json.loads((state / "silences.json").read_text())
    saved["silences"].append({"id": "abc", "match": "x/" * 200, "begins": 0, "ends": 9})
    (state / "silences.json").write_text(json.dumps(saved))
    capsys.readouterr()
    assert silence("list") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for place in places:
        assert out.replace("\n", "").replace(" ", "").count(place) == 2


def test_a_silence_that_cannot_be_read_is_listed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how to be rid of it; the others are listed all the same."""
    silence("add", "--for", "2h", "10.0.0.1")
    path = state / "silences.json"
    saved = json.loads(path.read_text())
    saved["silences"].append({"id": "abc", "match": "\x1b[31m"})
    path.write_text(json.dumps(saved))
    capsys.readouterr()
    assert silence("list") == 0
    out = capsys.readouterr().out
    assert "    what 10.0.0.1\n" in out
    assert "1 cannot be read ('tcp-trace silence remove ID' removes one):\n  abc is not in" in out
    assert silence("list", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["unreadable"]) == 1
    assert silence("remove", "abc") == 0
    assert silence("list") == 0


def test_what_was_silenced_is_counted(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list shows how many failures each silence and each window has silenced so far."""
    monkeypatch.setenv("MAINTENANCE", "daily 00:00-24:00 192.0.2.0/24; Sun 01:00-01:01 all")
    silence("add", "--for", "1h", ":5432")
    now = Moment(time.monotonic(), time.time())
    incidents = Incidents(Policy(), Silences(SilenceFile(state).silences))
    for _ in range(1234):
        incidents.failed(FAILURE, now, Always())
    outbox = Outbox(state / "outbox.db")
    outbox.commit([], incidents.dump(now))
    outbox.close()
    capsys.readouterr()
    silence("list")
    listed = capsys.readouterr().out
    assert "1,234" in listed
    assert "daily 00:00-24:00 192.0.2.0/24: in force, 0 failures silenced" in listed
    silence("list", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert [(each["silenced"], each["in_force"]) for each in shown["silences"]] == [(1234, True)]
    assert [each["match"] for each in shown["maintenance"]] == ["192.0.2.0/24", "all"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_member_of_the_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the directory is the group's, a member silences, and sees all but the counts."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        monkeypatch.setenv("STATE_DIR", name)
        monkeypatch.setattr(loading, "ENV_FILE", directory / "none")
        Outbox(directory / "outbox.db").close()
        for path in (directory, *directory.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        directory.chmod(0o770)
        silence("add", "--for", "1h", "10.0.0.1")
        os.setegid(NOBODY)
        os.seteuid(NOBODY - 1)
        try:
            assert silence("add", "--for", "1h", "10.0.0.2") == 0
            capsys.readouterr()
            assert silence("list") == 0
            assert cli.main(["incidents"]) == 1
        finally:
            os.seteuid(0)
            os.setegid(0)
        captured = capsys.readouterr()
        assert "10.0.0.1" in captured.out
        assert "10.0.0.2" in captured.out
        assert "try it as root" in captured.err
        found = (directory / "silences.json").stat()
        assert (found.st_gid, found.st_mode & 0o777) == (NOBODY, 0o660)
        assert len(SilenceFile(directory).silences) == 2


def test_silences_that_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended is listed on demand only."""
    silence("add", "--for", "1s", "all")
    later = time.time() + 2
    monkeypatch.setattr(time, "time", lambda: later)
    capsys.readouterr()
    silence("list")
    assert capsys.readouterr().out == "no silences\n"
    silence("list", "--all")
    assert "ended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--for", "2h"), "name what to silence"),
        (("--for", "soon", "all"), "--for soon: not a duration; write it like 30s, 5m or 4h"),
        (("--for", "0", "all"), "--for 0: out of range; write a duration from 1s to 365d"),
        (("--for", "2h", "10.0.0.0/33"), "no address, network or host name"),
        (("--for", "2h", "--reason", "bad"), "write one of refused"),
        (("--for", "2h", "--process", "x" * 16), "the kernel keeps 15 bytes"),
        (("--for", "2h", "all", "--comment", "x" * 201), "longer than 200"),
        (("--for", "2h", ""), "'' names no destination; write all for every one"),
        (("--for", "2h", " , "), "names no destination"),
        (("--until-recovered", "10.0.0.5"), "takes one destination with its port and nothing else"),
        (("--until-recovered", "10.0.0.0/24:5432"), "takes one destination with its port"),
        (("--until-recovered", "*.example.com:5432"), "takes one destination with its port"),
        (("--until-recovered", "all"), "takes one destination with its port"),
        (("--until-recovered", "a.example:1", "b.example:1"), "takes one destination"),
        (("--until-recovered", "a.example:1", "--unit", "shop"), "takes one destination"),
        (("--for", "2h", "--pod", "a b"), "no pod; write its id as messages show it"),
        (("--for", "2h", ":0"), "':0': the port must be a number from 1 to 65535"),
    ],
)
def test_what_cannot_be_meant(
    state: Path, args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments that cannot be meant exit with 2 and a sentence, and silence nothing."""
    assert silence("add", *args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert list(state.iterdir()) == []


def test_a_wrong_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a configuration that cannot be read it is not known where silences are."""
    monkeypatch.setenv("MAINTENANCE", "Sux 01:00-02:00; daily 1-2")
    assert silence("list") == 78
    said = capsys.readouterr().err
    assert "Sux is no day" in said
    assert "1-2 are no hours" in said
