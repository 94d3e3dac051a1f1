"""Configuration: where it comes from, and what is said of a wrong one."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.settings import config, variables
from tcp_trace.settings.config import (
    AlertAfter,
    Events,
    Hook,
    LogFormat,
    Settings,
)
from tests.unit.settings.loading import URL, errors, load

EXAMPLE = Path(__file__).parents[3] / "systemd/tcp-trace.env.example"


def test_defaults() -> None:
    """Without any configuration the service watches everything and only logs."""
    settings = load()
    assert settings.slack_url is None
    assert [str(rule) for rule in settings.dest_ip] == ["[::]/0"]
    assert (settings.events, settings.hook) == (Events.FAILURES, Hook.AUTO)
    assert (settings.alert_interval, settings.alert_repeat, settings.resolve_after) == (
        300.0,
        43200.0,
        120.0,
    )
    assert settings.alert_after == AlertAfter(None, 60.0)
    assert (settings.alert_down, settings.digest) == (AlertAfter(3, 10.0), 9)
    assert settings.log_format is LogFormat.JSON
    assert settings.state_dir == Path("/var/lib/tcp-trace")
    assert settings.host_name == socket.gethostname()
    assert settings.warnings == ()


def test_environment_wins_over_the_file(env_file: Path) -> None:
    """A variable of the process environment wins; one that only the file sets is taken from it."""
    env_file.write_text("RING_MB=16\nALERT_INTERVAL=7m\n")
    settings = load(env_file, RING_MB="32")
    assert (settings.ring_mb, settings.alert_interval) == (32, 420.0)


def test_empty_value_is_none(env_file: Path) -> None:
    """An empty variable of the environment does not hide the file's, nor an empty one a default."""
    env_file.write_text("RING_MB=16\nHOST_NAME=\n")
    settings = load(env_file, RING_MB="")
    assert (settings.ring_mb, settings.host_name) == (16, socket.gethostname())


def test_state_directory_of_systemd_is_a_default() -> None:
    """The StateDirectory= of systemd is used, unless STATE_DIR says otherwise."""
    assert load(STATE_DIRECTORY="/a:/b").state_dir == Path("/a")
    assert load(STATE_DIRECTORY="/a", STATE_DIR="/c").state_dir == Path("/c")


def test_every_error_at_once(env_file: Path) -> None:
    """All that is wrong is told in one go, each with variable, value and what to write."""
    env_file.write_text(
        "SLACK_ULR=x\nALERT_INTERVAL=5x\nwhat is this\nHOOK=usdt\nDEST_IP=10.0.0.1/8\n"
    )
    assert errors(env_file, RING_MB="100") == [
        f"{env_file}, line 1: SLACK_ULR is unknown; did you mean SLACK_URL?",
        f"{env_file}, line 3: not understood; write NAME=value",
        (
            f"{env_file}, line 5: DEST_IP=10.0.0.1/8: '10.0.0.1/8': has host bits set; did you mean"
            " 10.0.0.0/8?"
        ),
        f"{env_file}, line 2: ALERT_INTERVAL=5x: not a duration; write it like 30s, 5m or 4h",
        (
            f"{env_file}, line 4: HOOK=usdt: not one of the choices; write one of auto, kprobe,"
            " tracepoint"
        ),
        "RING_MB=100: not a power of two from 1 to 256; write for example 16",
    ]


def test_control_characters_of_a_value_are_escaped() -> None:
    """A value with a newline cannot make up a second error line."""
    (told,) = errors(HOST_NAME="a\nb")
    assert "\n" not in told


def test_example_file_is_the_codes_own() -> None:
    """`systemd/tcp-trace.env.example` is what the table of variables makes; see `make docs`."""
    assert EXAMPLE.read_text() == variables.example_file()


def test_example_file_changes_nothing(env_file: Path) -> None:
    """The example can be installed as it is: everything in it is a comment."""
    env_file.write_text(variables.example_file())
    assert load(env_file) == load()


def test_examples_are_valid(env_file: Path) -> None:
    """Every example but those of the webhooks works once its comment sign is taken away."""
    (env_file.parent / "slack_url").touch(0o600)
    (env_file.parent / "slack_url").write_text(URL)
    lines = [
        line[1:]
        for line in variables.example_file().splitlines()
        if line.startswith("#") and line[1:2].isupper() and not line.startswith(("#SLACK", "#RO"))
    ]
    env_file.write_text("\n".join(lines))
    assert len(lines) == len(variables.VARIABLES) - 3
    settings = load(env_file)
    assert [str(rule) for rule in settings.dest_ip] == [
        "10.0.0.0/8",
        "172.217.161.228:443",
        "[2001:db8::]/32",
        "[2001:db8::1]:443",
    ]


def test_every_variable_has_its_field() -> None:
    """The table and the settings tell of the same things."""
    names = {item.name.lower() for item in variables.VARIABLES} - {"slack_url_file", "routes_file"}
    others = {"warnings", "webhooks", "routes"}
    assert names == {item.name for item in dataclasses.fields(Settings)} - others


def test_documents_name_every_variable() -> None:
    """Help and README table tell of every variable with its default."""
    for item in variables.VARIABLES:
        assert f"  {item.name}\n" in variables.help_text()
        assert f"| `{item.name}` | " in variables.markdown_table()


def test_maintenance(env_file: Path) -> None:
    """Windows are read from the file as they are written, semicolons and all."""
    env_file.write_text("MAINTENANCE=Sun 02:00-04:00 UTC; daily 03:00-03:15 10.0.0.0/8\n")
    windows = load(env_file).maintenance
    assert windows is not None
    assert [each.id for each in windows] == ["Sun 02:00-04:00 UTC", "daily 03:00-03:15 10.0.0.0/8"]
    assert load().maintenance is None
    (error,) = errors(MAINTENANCE="Sux 02:00-04:00; daily 3-4")
    assert error.startswith("MAINTENANCE=Sux 02:00-04:00; daily 3-4: 'Sux 02:00-04:00': Sux is no")
    assert "'daily 3-4': 3-4 are no hours" in error


def test_hosts_instead_of_everything() -> None:
    """With DEST_HOST alone only the hosts are watched, with DEST_IP both."""
    alone = load(DEST_HOST="db.example.com:5432")
    assert [str(host) for host in alone.dest_host] == ["db.example.com:5432"]
    assert alone.dest_ip == ()
    both = load(DEST_HOST="db", DEST_IP="10.0.0.0/8,api:443,db")
    assert [str(one) for one in both.dest_ip] == ["10.0.0.0/8"]
    assert [str(one) for one in both.dest_host] == ["api:443", "db"]
    assert load(DEST_IP="api").dest_ip == ()
    assert (load().dest_ip, load().dest_host) == ((EVERYTHING,), ())
    assert load(DEST_IP="::/0", DEST_HOST="db").dest_ip == (EVERYTHING,)
    many = ",".join(f"host-{number}" for number in range(65))
    assert errors(DEST_HOST=many) == ["DEST_IP, DEST_HOST: 65 hosts are too many; 64 at most"]
    (error,) = errors(DEST_HOST="10.0.0.5")
    assert error.startswith("DEST_HOST=10.0.0.5: '10.0.0.5': is no host name; write it like")


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u00a0\u3000"])
@pytest.mark.parametrize("name", [each.name for each in variables.VARIABLES])
def test_blank_value_is_none(env_file: Path, name: str, blank: str) -> None:
    """A blank variable is as good as none, in the environment and in the file."""
    assert load(None, **{name: blank}) == load()
    env_file.write_text(f"{name}='{blank}'\n")
    assert load(env_file) == load()
    env_file.write_text(f"SLACK_URL={URL}\nHOST_NAME=db-1\n")
    assert load(env_file, **{name: blank}) == load(env_file)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: a namespace with a host name of its own")
@pytest.mark.parametrize(
    ("kernels", "name"),
    [
        ("b''", config.NAMELESS),
        ("b'(none)'", config.NAMELESS),
        ("b' '", config.NAMELESS),
        ("b'http://x'", config.NAMELESS),
        ("b'db-1'", "db-1"),
        ("'z\u00fcrich'.encode()", "z\u00fcrich"),
        ("b'a' + bytes([255, 10])", "a\\udcff\\n"),
        ("bytes([255]) * 64", ("\\udcff" * 64)[:255]),
    ],
)
def test_whatever_the_kernel_calls_this_host(kernels: str, name: str) -> None:
    """A host without a name, or with one that cannot be shown, starts all the same."""
    program = f"""
import ctypes, json
from tcp_trace.settings import config
name = {kernels}
assert ctypes.CDLL(None).sethostname(name, len(name)) == 0
for given in ({{}}, {{"HOST_NAME": " "}}):
    settings = config.load(given, None)
    print(json.dumps([settings.host_name, settings.warnings]))
settings = config.load({{"HOST_NAME": "mine"}}, None)
print(json.dumps([settings.host_name, settings.warnings]))
"""
    command = ["unshare", "--uts", sys.executable, "-B", "-c", program]
    done = subprocess.run(
        command, cwd=EXAMPLE.parents[1], check=True, capture_output=True, text=True
    )
    default, blank, given = map(json.loads, done.stdout.splitlines())
    assert default == blank
    assert default[0] == name
    assert bool(default[1]) == (name == config.NAMELESS)
    assert given == ["mine", []]


@pytest.mark.parametrize("name", ["\u2699\ufe0f Zu\u0308rich", "\U0001f469\u200d\U0001f4bb", "शिव"])
def test_host_names_that_are_seen(name: str) -> None:
    """Emoji, with the joiners in them, and marks are taken as they are."""
    assert load(HOST_NAME=name).host_name == name


@pytest.mark.parametrize(
    "name", ["\u3164", "\u200d", "\u0301\ufe0f", "\u202edb", "a\nb", "x" * 256]
)
def test_host_names_of_which_nothing_is_seen(name: str) -> None:
    """What would show as nothing, or turn what follows around, is refused in one sentence."""
    (told,) = errors(HOST_NAME=name)
    assert told.startswith("HOST_NAME")
    assert "write for example db-1" in told


def test_one_wrong_item_among_thousands() -> None:
    """The error begins with it, is no longer than a line, and says how many more there are."""
    right = [f"10.0.{number // 250}.{number % 250}" for number in range(4000)]
    (told,) = errors(DEST_IP=",".join([*right[:2000], "10.0.0.300", *right[2000:]]))
    assert told.startswith("DEST_IP: '10.0.0.300': is no address")
    assert len(told) < 200
    (told,) = errors(DEST_IP=",".join(f"10.0.0.{number}" for number in range(256, 4256)))
    assert told.startswith("DEST_IP: '10.0.0.256': is no address")
    assert told.endswith("more are wrong")
    assert len(told) < 400


@pytest.mark.parametrize("name", [each.name for each in variables.VARIABLES if not each.secret])
@pytest.mark.parametrize(
    "item",
    ["a\0\u200bb!", "x" * 50_000 + "!", ("!" * 99 + ",;") * 500],
    ids=["unseen", "long", "many"],
)
def test_errors_are_one_line_of_what_is_seen(env_file: Path, name: str, item: str) -> None:
    """Whatever stands in a variable, NULs and what is unseen is escaped, and the rest is cut."""
    if name == "HOST_NAME" and item.isprintable() and len(item) < 256:
        return
    env_file.write_text(f"{name}='{item}'\n" if "\0" not in item else "")
    for told in errors(env_file) if "\0" not in item else errors(None, **{name: item}):
        assert told.isprintable()
        assert len(told) < 600
        assert told.startswith((name, f"{env_file}, line 1: {name}"))
