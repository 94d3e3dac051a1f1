"""Configuration: where it comes from, and what is said of a wrong one."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.settings import config, values, variables
from tcp_trace.settings.config import (
    AlertAfter,
    ConfigError,
    Events,
    Hook,
    LogFormat,
    Secret,
    Settings,
)

URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc"
OTHER_URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/dddddddddddddddddddddddd"
EXAMPLE = Path(__file__).parents[3] / "systemd/tcp-trace.env.example"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Return an empty env file that only its owner and group can read."""
    path = tmp_path / "tcp-trace.env"
    path.touch(0o640)
    return path


def load(path: Path | None = None, **environ: str) -> Settings:
    """Return the settings of an env file and an environment."""
    return config.load(environ, path)


def errors(path: Path | None = None, **environ: str) -> list[str]:
    """Return what is said of a wrong configuration."""
    with pytest.raises(ConfigError) as caught:
        config.load(environ, path)
    return caught.value.errors


def test_defaults() -> None:
    """Without any configuration the service watches everything and only logs."""
    settings = load()
    assert settings.slack_url is None
    assert [str(rule) for rule in settings.dest_ip] == ["[::]/0"]
    assert (settings.events, settings.hook) == (Events.FAILURES, Hook.AUTO)
    assert (settings.alert_interval, settings.alert_repeat, settings.resolve_after) == (
        300.0,
        14400.0,
        120.0,
    )
    assert settings.alert_after == AlertAfter(1, 60.0)
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


def test_an_error_names_the_line_that_it_is_about(env_file: Path) -> None:
    """Blank lines and comments count; what the environment sets is not the file's mistake."""
    env_file.write_text("\n# x\n\n\nRING_MB=3\n\nHOOK=x # y\n\n\nSLACK_ULR=1\n\n!\n")
    assert [told.partition(": ")[0].removeprefix(str(env_file)) for told in errors(env_file)] == [
        ", line 10",
        ", line 12",
        ", line 7",
        ", line 5",
    ]
    env_file.write_text("RING_MB=3\n")
    assert errors(env_file, RING_MB="5") == [
        "RING_MB=5: not a power of two from 1 to 256; write for example 16"
    ]


def test_an_error_names_the_file_that_it_is_about(env_file: Path) -> None:
    """The file that cannot be read is named with where it was named; one that is wrong, itself."""
    other = env_file.with_name("other")
    for variable in ("SLACK_URL_FILE", "ROUTES_FILE"):
        env_file.write_text(f"\n{variable}={other}\n")
        assert errors(env_file) == [
            f"{env_file}, line 2: {variable}={other}: cannot be read (No such file or directory)"
        ]
    other.touch(0o600)
    other.write_text("no webhook")
    env_file.write_text(f"SLACK_URL_FILE={other}\n")
    why = "not a URL; write https://hooks.slack.com/services/..."
    assert errors(env_file) == [f"{other}: SLACK_URL_FILE: {why}"]
    (env_file.parent / "slack_url").write_text("no webhook")
    assert errors(CREDENTIALS_DIRECTORY=str(env_file.parent)) == [
        f"{env_file.parent}/slack_url: the credential: {why}"
    ]
    env_file.write_text("DEST_HOST=" + ",".join(f"host-{number}" for number in range(65)))
    (error,) = errors(env_file)
    assert error.startswith(f"{env_file}, line 1: DEST_IP, DEST_HOST: 65 hosts")


def test_name_without_value_is_an_error(env_file: Path) -> None:
    """A bare name in the file is not silently the default."""
    env_file.write_text("EVENTS\n")
    assert errors(env_file) == [f"{env_file}, line 1: not understood; write NAME=value"]


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for and is not there, or is no text, is told with its path."""
    (told,) = errors(tmp_path / "absent")
    assert told == f"{tmp_path}/absent: cannot be read (No such file or directory); see --env-file"
    (tmp_path / "binary").write_bytes(b"A=\xff\xfe")
    assert errors(tmp_path / "binary") == [
        f"{tmp_path}/binary: is not text in UTF-8 (line 1); save it as UTF-8; see --env-file"
    ]


def test_file_is_read_as_python_dotenv_reads_it(env_file: Path) -> None:
    """Quotes, comments, export and a byte order mark mean what python-dotenv says."""
    env_file.write_text(
        "\ufeff# comment\nexport HOST_NAME='db 1' # note\nLOG_LEVEL=\"debug\"\n"
        "DEST_IP=10.0.0.0/8 # ours\nSTATE_DIR=/x/${HOME}\n",
        encoding="utf-8",
    )
    with env_file.open(encoding="utf-8-sig") as stream:
        expected = dotenv_values(stream=stream, interpolate=False)
    settings = load(env_file)
    assert settings.host_name == expected["HOST_NAME"] == "db 1"
    assert settings.log_level.value == expected["LOG_LEVEL"]
    assert str(settings.dest_ip[0]) == expected["DEST_IP"]
    assert str(settings.state_dir) == expected["STATE_DIR"] == "/x/${HOME}"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("4H", 14400), ("2d", 172800), ("1.5m", 90),
                          ("45", 45), ("2000ms", 2)]
)  # fmt: skip
def test_duration(text: str, seconds: float) -> None:
    """A duration is a number of seconds or has a unit."""
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["5x", "", "-5s", "1e3", "inf", "nan", "5 m", "m", "٣s"])
def test_no_duration(text: str) -> None:
    """Whatever Python would take for a number but people would not is refused."""
    with pytest.raises(ValueError, match="not a duration"):
        values.duration(text)


@pytest.mark.parametrize("text", ["0", "999ms", "366d", "9" * 400])
def test_duration_out_of_range(text: str) -> None:
    """A duration that would flood people or never end is refused."""
    with pytest.raises(ValueError, match="out of range"):
        values.duration(text)


def test_threshold() -> None:
    """A threshold is a number of failures, with a window or within a minute."""
    assert values.alert_after("3/2m") == AlertAfter(3, 120.0)
    assert values.alert_after("5") == AlertAfter(5, 60.0)
    for text in ("0", "-1", "x/60s", "3/", "3/x", "1.5"):
        with pytest.raises(ValueError, match="not a"):
            values.alert_after(text)


@pytest.mark.parametrize(
    "text",
    [
        URL,
        "https://chat.example.com:8443/hooks/abc",
        "http://127.0.0.1:8000/x",
        "http://[::1]:8000/x",
        "http://localhost/x",
    ],
)
def test_webhook(text: str) -> None:
    """HTTPS is taken everywhere, HTTP on loopback."""
    assert values.slack_url(text).reveal() == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hooks.slack.com/services/T0/B0/sesame", "not a URL"),
        ("https:///services/T0/B0/sesame", "not a URL"),
        ("https://[::1/sesame", "not a URL"),
        ("https://hooks.slack.com:port/sesame", "not a URL"),
        ("https://hooks.slack.com/ sesame", "not a URL"),
        ("https://hooks.slack.com/\x1bsesame", "not a URL"),
        ("ftp://hooks.slack.com/sesame", "not a URL"),
        ("http://hooks.slack.com/sesame", "clear text"),
        ("http://127.0.0.1.example.com/sesame", "clear text"),
        ("https://hooks.slack.com/sesame/...", "still the example"),
    ],
)
def test_wrong_webhook_is_refused_and_not_shown(text: str, why: str) -> None:
    """The error names the variable and what to write, and no part of the secret."""
    (told,) = errors(SLACK_URL=text)
    assert told.startswith("SLACK_URL: ")
    assert why in told
    assert "sesame" not in told


def test_pasted_secret_as_a_name_is_not_shown(env_file: Path) -> None:
    """A webhook pasted where a name belongs stays out of the error."""
    env_file.write_text(f"{URL}=1\n{URL}\n")
    assert "cccc" not in "".join(errors(env_file))


@pytest.mark.parametrize(
    "name", [each.name for each in variables.VARIABLES if each.name != "SLACK_URL"]
)
def test_webhook_in_the_wrong_variable_is_not_shown(name: str) -> None:
    """HOOK and SLACK_URL_FILE sound as if they took it: the error names them, not the value."""
    (told,) = errors(None, **{name: URL})
    assert told.startswith(f"{name}: ")
    assert "cccc" not in told


def test_webhook_without_its_scheme_in_place_of_a_file_is_not_shown() -> None:
    """It is no path either, and no file of that name is looked for."""
    assert errors(SLACK_URL_FILE=URL.removeprefix("https://")) == [
        "SLACK_URL_FILE: not an absolute path; write one that begins with /"
    ]


def test_webhook_from_file(tmp_path: Path) -> None:
    """SLACK_URL_FILE names a file with the webhook; its newline does not matter."""
    path = tmp_path / "slack_url"
    path.touch(0o600)
    path.write_text(URL + "\n")
    settings = load(SLACK_URL_FILE=str(path))
    assert settings.slack_url == Secret(URL)
    assert settings.warnings == ()


def test_webhook_from_credential(tmp_path: Path) -> None:
    """A systemd credential called slack_url is found; without one, none is missed."""
    assert load(CREDENTIALS_DIRECTORY=str(tmp_path)).slack_url is None
    (tmp_path / "slack_url").write_text(URL)
    assert load(CREDENTIALS_DIRECTORY=str(tmp_path)).slack_url == Secret(URL)


def test_precedence_of_webhooks(tmp_path: Path, env_file: Path) -> None:
    """Environment, env file, SLACK_URL_FILE, credential: the first wins, and two are told of."""
    path = tmp_path / "slack_url"
    path.touch(0o600)
    path.write_text(OTHER_URL)
    env_file.write_text(f"SLACK_URL={URL}\n")
    settings = load(env_file, SLACK_URL_FILE=str(path), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert settings.slack_url == Secret(URL)
    (told,) = settings.warnings
    assert told.startswith("the webhook is set by SLACK_URL and by SLACK_URL_FILE and by the cred")
    assert told.endswith("; SLACK_URL is used")
    assert load(env_file, SLACK_URL=OTHER_URL).slack_url == Secret(OTHER_URL)


def test_unusable_webhook_file(tmp_path: Path) -> None:
    """A named file that is absent or empty is an error: the operator meant to be told."""
    assert errors(SLACK_URL_FILE=f"{tmp_path}/x") == [
        f"SLACK_URL_FILE={tmp_path}/x: cannot be read (No such file or directory)"
    ]
    (tmp_path / "x").touch(0o600)
    assert errors(SLACK_URL_FILE=f"{tmp_path}/x") == [
        f"SLACK_URL_FILE={tmp_path}/x: is empty; put the webhook's URL into it"
    ]


def test_public_secret_is_told_of(env_file: Path) -> None:
    """A file that holds the webhook and that everybody can read makes a warning."""
    env_file.write_text(f"SLACK_URL={URL}\n")
    assert load(env_file).warnings == ()
    env_file.chmod(0o644)
    (told,) = load(env_file).warnings
    assert told == (f"{env_file} holds the webhook and every user can read it: chmod o= {env_file}")


def test_secret_shows_itself_to_nobody() -> None:
    """However a secret or the settings are formatted or copied, the secret stays out of it."""
    settings = load(SLACK_URL=URL)
    shown = f"{settings} {settings!r} {settings.slack_url} {settings.slack_url!r:>20}"
    shown += "%s %r" % (settings.slack_url, settings.slack_url)  # noqa: UP031
    shown += str(dataclasses.asdict(settings)) + str(copy.deepcopy(settings))
    assert "cccc" not in shown
    assert "<secret>" in shown
    assert settings.slack_url == Secret(URL) != Secret(OTHER_URL)


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


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("@channel", "<!channel>"),
        ("here", "<!here>"),
        ("<!here>", "<!here>"),
        ("S0123ABCD", "<!subteam^S0123ABCD>"),
        ("<!subteam^S123>, U123 @here", "<!subteam^S123> <@U123> <!here>"),
        ("<@W0123ABCD>", "<@W0123ABCD>"),
    ],
)
def test_mentions(text: str, markup: str) -> None:
    """Who is to be woken is turned into what Slack understands."""
    assert load(ALERT_MENTION=text).alert_mention == markup


@pytest.mark.parametrize("text", ["@bob", "#ops", "SUPPORT", "<!channel|x>", "u0123abcd", "@@here"])
def test_mentions_that_cannot_be(text: str) -> None:
    """A name that Slack would not mention is refused with what to write."""
    (error,) = errors(ALERT_MENTION=text)
    assert error == (
        f"ALERT_MENTION={text}: {text} cannot be mentioned; write @channel, @here, or Slack's id of"
        " a user group (S0123ABCD) or a user (U0123ABCD)"
    )


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


def test_switch() -> None:
    """A switch is on or off, and nothing else."""
    assert load().dns_names is True
    assert load(DNS_NAMES="OFF").dns_names is False
    assert "DNS_NAMES=no: not on or off" in errors(DNS_NAMES="no")[0]


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


def test_a_file_of_another_kind_is_told_of_briefly(env_file: Path) -> None:
    """Of a thousand wrong lines the first are told, and how many more there are."""
    env_file.write_text("what is this\n" * 1000)
    told = errors(env_file)
    assert len(told) == config.ERRORS_MAX + 1
    assert told[-1] == "and 980 more errors"


def test_a_variable_that_is_gone_is_a_warning(env_file: Path) -> None:
    """An update does not keep the service from starting; it says what to do about it."""
    env_file.write_text("\nPERF_PAGES=512\n")
    assert load(env_file).warnings == (
        (
            f"{env_file}, line 2: PERF_PAGES is gone; remove it: RING_MB is the size of the one"
            " ring there is now"
        ),
    )
    assert load(env_file, PERF_PAGES="").ring_mb == 8
