"""The command line as its users see it: what it writes where, and its exit codes."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tcp_trace import __version__
from tcp_trace.commands import cli
from tcp_trace.commands.loading import EX_CONFIG
from tcp_trace.kernel.contract import StartError
from tcp_trace.notify.outbox import Outbox
from tcp_trace.settings.variables import VARIABLES
from tests.sockets import connected_as
from tests.unit.notify.test_webhook_schema import SCHEMA, misfits
from tests.webhook import SECRET, Reply, Webhook

ROOT = Path(__file__).parents[3]


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with a bare environment."""
    return subprocess.run(
        [sys.executable, "-m", "tcp_trace", *args],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SERVICE_USER": "games", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def answering(status: int, body: bytes) -> Webhook:
    """Return a webhook that answers like this."""
    webhook = Webhook()
    webhook.default = Reply(status, body)
    return webhook


def test_version() -> None:
    """--version tells the version on stdout."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"tcp-trace {__version__}\n")


@pytest.mark.parametrize("args", [(), ("fly",), ("run", "--fast")])
def test_misunderstood_command_line(args: tuple[str, ...]) -> None:
    """What is not understood exits with 2 and shows the usage."""
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: tcp-trace" in done.stderr


def test_help_is_worth_reading() -> None:
    """The help has the commands, examples, files and exit codes; run's has every variable."""
    text = run("--help").stdout
    for word in ("run", "check", "test-alert", "demo", "examples:", "files:", "exit codes:", "78"):
        assert word in text
    text = run("run", "--help").stdout
    assert all(f"  {item.name}\n" in text for item in VARIABLES)
    assert "--handover" not in text


def test_wrong_configuration_exits_78(tmp_path: Path) -> None:
    """Each error is a line on stderr, and systemd learns from 78 not to try again."""
    path = tmp_path / "env"
    path.write_text("RING_MB=3\nRING_M=4\n")
    for command in ("run", "test-alert"):
        done = run(command, "--env-file", str(path), HOOK="x")
        assert done.returncode == EX_CONFIG == 78
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["tcp-trace"] * 3


def test_missing_env_file_exits_78(tmp_path: Path) -> None:
    """An env file that was asked for must be there."""
    assert run("run", "--env-file", f"{tmp_path}/absent").returncode == 78


def test_alert_delivered() -> None:
    """test-alert posts one message that names the host, escaped, and says so."""
    with answering(200, b"ok") as webhook:
        done = run(
            "test-alert", "--env-file", "/dev/null", SLACK_URL=webhook.url, HOST_NAME="db<!here>&1"
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("delivered")
    (request,) = webhook.received
    assert "tcp_trace on db&lt;!here&gt;&amp;1:" in request.payload["text"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b"no_service", "create a new webhook"),
        (400, b"invalid_payload", "the receiver refuses"),
        (500, b"", "check the way"),
    ],
)
def test_alert_not_delivered(status: int, body: bytes, told: str) -> None:
    """What came of it is told with a fix, without the webhook, and the exit code is 1."""
    with answering(status, body) as webhook:
        done = run("test-alert", "--env-file", "/dev/null", SLACK_URL=webhook.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"status {status}" in done.stderr
    assert told in done.stderr
    assert SECRET not in done.stderr


def test_alert_to_every_webhook(tmp_path: Path) -> None:
    """Each gets a message of its kind, and each has its line; one that fails hides no other."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    with (
        answering(200, b"ok") as slack,
        answering(202, b"") as generic,
        answering(400, b"") as fleet,
    ):
        path.write_text(
            f'[webhook.generic]\ntype = "json"\nurl = "{generic.url}"\n'
            f'[webhook.fleet]\ntype = "alertmanager"\nurl = "{fleet.url}"\n'
            '[[route]]\nto = ["default", "generic", "fleet"]\n'
        )
        done = run(
            "test-alert", "--env-file", "/dev/null", SLACK_URL=slack.url, ROUTES_FILE=str(path)
        )
    assert (done.returncode, done.stdout) == (1, "")
    default, second, third = done.stderr.splitlines()
    assert "default: delivered" in default
    assert "generic: delivered" in second
    assert "fleet: not delivered (status 400)" in third
    assert misfits(generic.received[0].payload, SCHEMA) == []
    ((alert,),) = [request.payload for request in fleet.received]
    assert alert["labels"]["alertname"] == "TcpTraceTest"
    assert alert["startsAt"] < alert["endsAt"]
    assert SECRET not in done.stderr


@pytest.mark.parametrize(("kind", "words"), [("json", "took the test"), ("alertmanager", "alert")])
def test_what_is_said_of_a_delivery_is_true(tmp_path: Path, kind: str, words: str) -> None:
    """Only a chat has a channel."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    with answering(200, b"") as webhook:
        path.write_text(
            f'[webhook.x]\ntype = "{kind}"\nurl = "{webhook.url}"\n'
            '[[route]]\nto = ["x", "default"]\n'
        )
        done = run("test-alert", "--env-file", "/dev/null", ROUTES_FILE=str(path))
    assert done.returncode == 0
    assert words in done.stdout
    assert "channel" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has others do it")
def test_alert_is_sent_by_the_service_user() -> None:
    """Root reads no answer of a stranger; without that user nobody does."""
    with answering(200, b"ok") as webhook:
        done = run(
            "test-alert",
            "--env-file",
            "/dev/null",
            SLACK_URL=webhook.url,
            SERVICE_USER="tcp-trace-none",
        )
        assert (done.returncode, done.stdout, webhook.received) == (1, "", [])
        assert (
            "SERVICE_USER=tcp-trace-none does not exist: create it with 'make install'"
            in done.stderr
        )
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        asking = threading.Thread(
            target=run, args=("test-alert", "--env-file", "/dev/null"), kwargs={"SLACK_URL": url}
        )
        asking.start()
        connection, peer = server.accept()
        uid = connected_as(server.getsockname()[1], peer[1])
        connection.close()
        asking.join()
    assert uid == pwd.getpwnam("games").pw_uid


def test_alert_without_webhook() -> None:
    """Without a webhook test-alert says what to set."""
    done = run("test-alert", "--env-file", "/dev/null")
    assert done.returncode == 1
    assert "SLACK_URL" in done.stderr


def test_check_fails_with_the_configuration() -> None:
    """The check shows a wrong configuration as a finding and exits with 1; --json is JSON."""
    done = run("check", "--json", "--env-file", "/dev/null", RING_MB="3")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    (finding,) = (item for item in told["checks"] if item["name"] == "configuration")
    assert finding["level"] == "fail"
    assert finding["detail"].startswith("RING_MB=3: ")
    assert finding["fix"] == "RING_MB is set in the environment: correct it there"


def test_reader_that_leaves_early() -> None:
    """Piping into head makes no traceback."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m tcp_trace check --env-file /dev/null | true"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""


def test_commands_import_only_what_they_need() -> None:
    """The way to stage 2 loads neither bcc nor requests, which cost seconds and megabytes."""
    code = (
        "import sys; from tcp_trace.commands import cli, parser;"
        "from tcp_trace.settings import config; parser.build(with_variables=False)"
        ".parse_args(['run', '--handover', '9']); config.load({}, None);"
        "print(*{'bcc', 'requests', 'ssl', 'json', 'ctypes'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_second_instance_is_said_before_the_compiler_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has STATE_DIR sends; the other one says at once what it does not do."""
    said: list[str] = []

    def start(*_: object) -> None:
        said.append(capsys.readouterr().err)
        raise StartError("no kernel")

    monkeypatch.setattr("tcp_trace.service.attach.start", start)
    monkeypatch.setattr("tcp_trace.commands.relay.has_terminal", lambda: False)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SERVICE_USER", "games")
    assert cli.main(["run"]) == 1
    first = Outbox(tmp_path / "outbox.db")
    assert cli.main(["run"]) == 1
    first.close()
    assert cli.main(["run"]) == 1
    another = (
        f"tcp-trace: another tcp-trace has STATE_DIR={tmp_path}: this one watches and logs, and"
        " sends nothing; to send messages, give it another STATE_DIR\n"
    )
    none = "tcp-trace: no kernel\n"
    assert said == ["", none + another, none]
