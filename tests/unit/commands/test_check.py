"""`tcp-trace check`: each thing that can be amiss is found, with its fix."""

from __future__ import annotations

import ast
import json
import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tcp_trace.commands import check, findings, reach
from tcp_trace.commands.findings import Finding, Level
from tcp_trace.kernel import btf, features, headers, program
from tcp_trace.kernel.privileges import Account
from tcp_trace.settings import config, environment, requirements
from tcp_trace.settings.config import Hook
from tests.sockets import connected_as

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE, SERVICE_GROUP = "games", "games"
URL = "http://127.0.0.1:1"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a kernel with kprobe and tracepoint below a directory, and let check look there."""
    (tmp_path / "kallsyms").write_text(
        "ffffffff81ebbd40 T tcp_set_state\nffffffff81ebbd41 T __traceiter_inet_sock_set_state\n"
    )
    (tmp_path / "kprobe").write_text("8\n")
    (tmp_path / "lockdown").write_text("[none] integrity confidentiality\n")
    (tmp_path / "paranoid").write_text("3\n")
    monkeypatch.setattr(check, "KALLSYMS", tmp_path / "kallsyms")
    monkeypatch.setattr(check, "KPROBE_PMU", tmp_path / "kprobe")
    monkeypatch.setattr(check, "TRACING", (tmp_path / "tracing",))
    monkeypatch.setattr(check, "LOCKDOWN", tmp_path / "lockdown")
    monkeypatch.setattr(check, "PERF_EVENT_PARANOID", tmp_path / "paranoid")
    monkeypatch.setattr(check, "STATUS", tmp_path / "status")
    monkeypatch.setattr(features, "is_kprobe_run", lambda: True)
    return tmp_path


def test_kprobe_is_preferred(kernel: Path) -> None:  # noqa: ARG001
    """Where both hooks are there the kprobe is named."""
    assert check._hook(Hook.AUTO) == Finding("hook", Level.OK, "kprobe on tcp_set_state")
    assert check._hook(Hook.TRACEPOINT).detail == "tracepoint sock:inet_sock_set_state"


def test_tracepoint_where_there_are_no_kprobes(kernel: Path) -> None:
    """Without kprobes auto is fine with the tracepoint, and HOOK=kprobe is not."""
    (kernel / "kprobe").unlink()
    assert check._hook(Hook.AUTO).level is Level.OK
    assert "no kprobes" in check._hook(Hook.AUTO).detail
    assert check._hook(Hook.KPROBE) == Finding(
        "hook", Level.FAIL, "no kprobe can be placed on tcp_set_state", "use HOOK=auto"
    )


def test_old_way_to_a_kprobe_counts(kernel: Path) -> None:
    """A kernel without the kprobe PMU but with tracefs can place kprobes as well."""
    (kernel / "kprobe").unlink()
    (kernel / "tracing").mkdir()
    (kernel / "tracing/kprobe_events").touch()
    assert check._hook(Hook.KPROBE).level is Level.OK


def test_no_hook_at_all(kernel: Path) -> None:
    """A kernel with neither hook, or with tracing locked down, fails."""
    (kernel / "lockdown").write_text("none integrity [confidentiality]\n")
    assert "locked down" in check._hook(Hook.AUTO).detail
    (kernel / "lockdown").unlink()
    (kernel / "kallsyms").write_text("")
    assert check._hook(Hook.AUTO).level is Level.FAIL


@pytest.mark.parametrize(
    ("capabilities", "paranoid", "level"),
    [
        ("000001ffffffffff", "3", Level.OK),
        ("0000000000200000", "3", Level.OK),
        ("000000c000000000", "2", Level.OK),
        ("000000c000000000", "3", Level.FAIL),
        ("0000008000000000", "2", Level.FAIL),
        ("0000000000000000", "-1", Level.FAIL),
    ],
)
def test_privileges(kernel: Path, capabilities: str, paranoid: str, level: Level) -> None:
    """CAP_SYS_ADMIN will do; CAP_BPF with CAP_PERFMON only where perf_event_paranoid allows."""
    (kernel / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    (kernel / "paranoid").write_text(paranoid + "\n")
    finding = check._privileges()
    assert finding.level is level
    assert bool(finding.fix) == (level is Level.FAIL)


def test_missing_headers_name_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With BTF no headers are asked for; without it the fix is the package with the exact ones."""
    monkeypatch.setattr(headers, "MODULES", tmp_path)
    assert [(item.name, item.level) for item in check._layout()] == [("btf", Level.OK)]

    def no_btf() -> btf.Types:
        raise btf.BtfError("this kernel has no type information")

    monkeypatch.setattr(btf, "read", no_btf)
    first, second = check._layout()
    assert (first.level, second.level) == (Level.WARN, Level.FAIL)
    assert "its exact headers are needed" in second.detail
    assert f"install the package linux-headers-{os.uname().release}" in second.fix


def test_wrong_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package called bcc on PyPI is told apart, and so is having none."""
    # Set first, so that afterwards it is gone again where nobody had imported it.
    monkeypatch.setitem(sys.modules, "bcc", sys)
    monkeypatch.delitem(sys.modules, "bcc")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bcc.py").write_text("")
    finding = check._bcc()
    assert finding.level is Level.FAIL
    assert "another package" in finding.detail
    monkeypatch.setitem(cast("dict[str, object]", sys.modules), "bcc", None)
    assert check._bcc().level is Level.FAIL


def test_old_kernel_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel older than the tested ones may work."""
    monkeypatch.setattr(platform, "release", lambda: "4.19.0-27-amd64")
    assert check._kernel().level is Level.WARN
    monkeypatch.setattr(platform, "release", lambda: "5.10.0")
    assert check._kernel().level is Level.OK


def test_configuration(tmp_path: Path) -> None:
    """Errors are failures, warnings are warnings, and neither shows the webhook."""
    path = tmp_path / "env"
    path.touch(0o644)
    path.write_text("SLACK_URL=https://hooks.slack.com/services/sesame\n")
    settings, (finding,) = check._configuration({}, path)
    assert settings is not None
    assert finding.level is Level.WARN
    assert "every user can read it" in finding.detail
    settings, found = check._configuration({"EVENTS": "x", "HOOK": "y"}, path)
    assert settings is None
    assert [item.level for item in found] == [Level.FAIL, Level.FAIL]
    assert "sesame" not in str(found)


def test_user() -> None:
    """A service user that the start refuses fails, with what to do."""
    assert check._user("daemon").level is Level.OK
    for name in ("tcp-trace-nobody", "nobody", "root"):
        found = check._user(name)
        assert found.level is Level.FAIL
        assert found.detail.startswith(f"SERVICE_USER={name} ")
        assert "SERVICE_USER" in found.fix or "useradd" in found.fix


@pytest.fixture
def state() -> Iterator[Path]:
    """Return a state directory of the service's user, the way to which everybody may go."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        path = Path(name, "state")
        path.mkdir(0o700)
        shutil.chown(path, SERVICE)
        yield path


def tried(state: Path, env_file: Path | None = None, **environ: str) -> list[Finding]:
    """Return what is found as the service's user."""
    given = {"STATE_DIR": str(state), "SERVICE_USER": SERVICE, **environ}
    return list(check._as_service(config.load(given, env_file), given, env_file))


def named(found: list[Finding], name: str) -> Finding:
    """Return the only finding of this name."""
    (finding,) = (one for one in found if one.name == name)
    return finding


@as_root
def test_state_directory(state: Path) -> None:
    """The service's user must be able to write there; systemd makes what does not exist."""
    assert named(tried(state), "state") == Finding("state", Level.OK, str(state))
    for mode, user, level in (
        (0o700, "root", Level.FAIL),
        (0o770, "root", Level.FAIL),
        (0o777, "root", Level.OK),
        (0o500, SERVICE, Level.FAIL),
    ):
        shutil.chown(state, user)
        state.chmod(mode)
        assert named(tried(state), "state").level is level
    state.rmdir()
    assert named(tried(state), "state").level is Level.WARN
    state.touch()
    assert named(tried(state), "state").level is Level.FAIL


@as_root
def test_every_file_of_the_state_is_read(state: Path) -> None:
    """Silences and outbox, as the service does: what it cannot use is told of."""
    silences = state / "silences.json"
    silences.write_text('{"silences": [{"id": "abc"}]}')
    silences.chmod(0o644)
    found = named(tried(state), "silences")
    assert (found.level, found.detail[:10]) == (Level.WARN, "abc is not")
    silences.write_text("[")
    assert named(tried(state), "silences").level is Level.FAIL
    silences.chmod(0o600)
    assert "Permission denied" in named(tried(state), "silences").detail
    silences.unlink()
    (state / "outbox.db").write_text("no database")
    (state / "outbox.db").chmod(0o644)
    assert named(tried(state), "state") == Finding(
        "state",
        Level.FAIL,
        f"{SERVICE} cannot write to {state}/outbox.db",
        f"chown -R {SERVICE} {state}",
    )
    shutil.chown(state / "outbox.db", SERVICE)
    assert "not a database" in named(tried(state), "state").detail


@as_root
@pytest.mark.parametrize("where", ["env", "routes", "url", "url_file"])
def test_a_file_that_only_root_can_read(state: Path, where: str) -> None:
    """Every file of the configuration is read as the service reads it, at a reload for example."""
    paths = {name: state.parent / name for name in ("env", "routes", "url", "url_file")}
    for path in paths.values():
        path.touch(0o640)
        shutil.chown(path, group=SERVICE_GROUP)
    paths["url"].write_text(f"{URL}/a")
    paths["url_file"].write_text(f"{URL}/b")
    paths["routes"].write_text(
        f'[webhook.x]\nurl_file = "{paths["url_file"]}"\n[[route]]\nto = "x"\n'
    )
    paths["env"].write_text(f"SLACK_URL_FILE={paths['url']}\nROUTES_FILE={paths['routes']}\n")
    assert not [one for one in tried(state, paths["env"]) if one.name == "configuration"]
    shutil.chown(paths[where], group="root")
    found = named(tried(state, paths["env"]), "configuration")
    assert found.level is Level.FAIL
    assert f"{paths[where]}: cannot be read (Permission denied)" in found.detail
    assert found.detail.startswith(f"for the user {SERVICE}: ")
    assert "chgrp" in found.fix


@as_root
def test_what_systemd_reads_is_not_asked_of_the_user(state: Path) -> None:
    """A credential is root's, and reaches the service all the same."""
    (state.parent / "hook").touch(0o400)
    (state.parent / "hook").write_text(f"{URL}/a")
    routes = state.parent / "routes"
    routes.write_text('[webhook.x]\ncredential = "hook"\n[[route]]\nto = "x"\n')
    found = tried(state, CREDENTIALS_DIRECTORY=str(state.parent), ROUTES_FILE=str(routes))
    assert not [one for one in found if one.name == "configuration"]


@as_root
def test_without_the_user_nothing_is_tried(state: Path) -> None:
    """Root asks nobody in his place."""
    (found,) = tried(state, SERVICE_USER="tcp-trace-none", SLACK_URL=URL)
    assert (found.name, found.level) == ("service", Level.WARN)
    assert "not tried without that user" in found.detail


@as_root
def test_the_service_user_asks_the_network(state: Path) -> None:
    """Whose socket it is that reaches the webhook's host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        asking = threading.Thread(target=run_check, args=(state, url))
        asking.start()
        connection, peer = server.accept()
        uid = connected_as(server.getsockname()[1], peer[1])
        connection.close()
        asking.join()
    assert uid == pwd.getpwnam(SERVICE).pw_uid


def run_check(state: Path, url: str) -> None:
    """Run it in a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "tcp_trace", "check", "--env-file", "/dev/null"],
        cwd=Path(__file__).parents[3],
        env={"STATE_DIR": str(state), "SERVICE_USER": SERVICE, "SLACK_URL": url},
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


def as_an_ordinary_user(state: Path, *args: str, **environ: str) -> list[Finding]:
    """Return what `check` finds for somebody who is neither root nor the service's user."""
    done = subprocess.run(
        [sys.executable, "-m", "tcp_trace", "check", "--json", *args],
        cwd=Path(__file__).parents[3],
        env={"STATE_DIR": str(state), "SERVICE_USER": SERVICE, **environ},
        capture_output=True,
        user="daemon",
        group="daemon",
        extra_groups=[],
        check=False,
        timeout=60,
    )
    found = json.loads(done.stdout)["checks"]
    return [Finding(one["name"], Level(one["level"]), one["detail"], one["fix"]) for one in found]


@as_root
def test_an_ordinary_user_is_told_what_he_cannot_know(state: Path) -> None:
    """What takes root to know is said to be unknown: neither well nor amiss."""
    path = state.parent / "env"
    path.touch(0o600)
    found = as_an_ordinary_user(state)
    for name in ("returns", "state"):
        assert named(found, name).level is Level.WARN
        assert named(found, name).detail.startswith("not known without root: ")
        assert named(found, name).fix == "sudo tcp-trace check"
    assert "lets no program" not in str(found)
    told = named(as_an_ordinary_user(state, "--env-file", str(path)), "configuration")
    assert told.level is Level.WARN
    assert told.detail == (
        f"not known without root: {path}: cannot be read (Permission denied); see --env-file"
    )


@pytest.mark.parametrize("requirement", requirements.REQUIRED, ids=lambda each: each.name)
def test_what_is_missing_is_named_with_its_package(
    requirement: requirements.Requirement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a finding with its apt line, and the start asks for it before it compiles."""
    gone = requirement._replace(name=f"absent_{requirement.name}")
    monkeypatch.setattr(requirements, "REQUIRED", (gone,))
    (found,) = (one for one in check._tools() if one.name == "packages")
    assert (found.level, f"absent_{requirement.name}" in found.detail) == (Level.FAIL, True)
    assert found.fix == f"apt install {requirement.package}"
    account = Account(os.getuid(), os.getgid(), ())
    monkeypatch.setattr(environment, "restrict", lambda: None)
    with pytest.raises(program.StartError, match=f"apt install {requirement.package}"):
        program.start(config.load({}, None), account)


def test_the_list_is_what_the_code_imports() -> None:
    """No module of another package is imported that is not in the list, and none is for nothing."""
    imported = set()
    for path in (Path(__file__).parents[3] / "tcp_trace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").partition(".")[0])
    others = imported - sys.stdlib_module_names - {"tcp_trace", "_typeshed"}
    listed = {one.name for one in requirements.REQUIRED if not one.is_library}
    assert others == listed | {"prometheus_client"}


@pytest.mark.parametrize("command", ["check", "incidents", "run", "test-alert"])
def test_without_dotenv_there_is_a_sentence(tmp_path: Path, command: str) -> None:
    """A missing library is no traceback: its package is named."""
    (tmp_path / "env").touch()
    code = (
        "import sys; sys.modules['dotenv'] = None; from tcp_trace.commands.cli import main;"
        f"raise SystemExit(main([{command!r}, '--env-file', {str(tmp_path / 'env')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {1, 78}
    assert "apt install python3-dotenv" in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def answer_of(url: str) -> Finding:
    """Return what check finds of a webhook."""
    (finding,) = reach.webhooks(config.load({"SLACK_URL": url}, None))
    return finding


def test_webhook_is_reached_without_a_message() -> None:
    """Any answer will do; the server is asked for its front page, and learns no path."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        finding = answer_of(
            f"http://user:sesame@127.0.0.1:{server.server_address[1]}/services/sesame"
        )
        server.shutdown()
    assert finding.level is Level.OK
    assert "status 302" in finding.detail
    assert asked == ["GET /"]
    assert "sesame" not in str(finding)


def answer_without_tls(server: socket.socket) -> None:
    """Answer one connection with what is no TLS."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"no TLS\n" * 9)


def test_unreachable_webhook() -> None:
    """Refused, unresolvable and failing TLS are told apart, each with its fix, without the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tls = threading.Thread(target=answer_without_tls, args=(server,))
        tls.start()
        failed = answer_of(f"https://127.0.0.1:{port}/services/sesame")
        tls.join()
    refused = answer_of(f"http://127.0.0.1:{port}/services/sesame")
    unknown = answer_of("https://nowhere.invalid/services/sesame")
    assert failed.detail == f"127.0.0.1:{port}: TLS fails"
    assert refused.detail == f"127.0.0.1:{port}: connection refused"
    assert unknown.detail == "nowhere.invalid: the name cannot be resolved"
    for finding in (failed, refused, unknown):
        assert finding.level is Level.FAIL
        assert finding.fix
        assert "sesame" not in str(finding)


def test_no_webhook_is_a_warning() -> None:
    """Without a webhook the service runs, but nobody is told."""
    (finding,) = reach.webhooks(config.load({}, None))
    assert finding.level is Level.WARN


def test_every_webhook_of_the_routes_is_reached(tmp_path: Path) -> None:
    """Each by its name; the fix names what to correct."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    path.write_text(
        '[webhook.a]\nurl = "http://127.0.0.1:1/sesame"\n[[route]]\nto = "a"\n', encoding="utf-8"
    )
    (finding,) = reach.webhooks(config.load({"ROUTES_FILE": str(path)}, None))
    assert finding.detail == "a: 127.0.0.1:1: connection refused"
    assert finding.fix == "look at host and port in its address, and the firewall"


def test_table() -> None:
    """The table has a line for each finding, a fix below it, and colours only when asked for."""
    found = [Finding("btf", Level.OK, "there"), Finding("bcc", Level.FAIL, "none", "install it")]
    assert findings.as_table(found, 80).splitlines() == [
        "ok    btf            there",
        "fail  bcc            none",
        "                     → install it",
        "",
        "1 to fix",
    ]
    assert findings.as_table(found[:1], 80).endswith("this host can run tcp_trace")


def test_colours_are_the_tables_own() -> None:
    """A level is coloured where it begins a line; what a finding quotes begins and colours none."""
    assert findings.paint("fail  bcc  none") == "\x1b[31mfail\x1b[0m  bcc  none"
    assert findings.paint("ok    btf  there") == "\x1b[32mok  \x1b[0m  btf  there"
    hostile = Finding("bcc", Level.OK, "a\nfail  x\x1b[5m" + " fail" * 40, "b\nfail")
    lines = findings.as_table([hostile], 80).splitlines()
    assert sum("\x1b" in findings.paint(line) for line in lines) == 1
    assert all(line.isprintable() and len(line) <= 80 for line in lines)


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR is set; a file gets none."""
    controller, terminal = os.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert findings.wants_colour(stream)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not findings.wants_colour(stream)
    os.close(controller)
    with open(os.devnull, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.delenv("NO_COLOR")
        assert not findings.wants_colour(stream)


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ((), None),
        (("tcp_v6_connect",), "watch connect() returning (BPF trampolines): connects that"),
        (("inet_recvmsg",), "watch recvmsg() returning (BPF trampolines): host names are not"),
        (("tcp_v4_connect", "inet6_recvmsg"), "watch connect() and recvmsg() returning"),
    ],
)
def test_functions_returning(
    monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], said: str | None
) -> None:
    """Each function that the start watches is tried: a kernel may take some and not others."""
    numbers = btf.read(["tcp_v4_connect", "tcp_v6_connect", "inet_recvmsg", "inet6_recvmsg"])
    forbidden = {numbers.functions[name] for name in refused}
    monkeypatch.setattr(features, "can_watch_returning", lambda number: number not in forbidden)
    finding = check._returns()
    assert finding.level is (Level.WARN if said else Level.OK)
    assert said is None or said in finding.detail


def test_functions_returning_while_ftrace_is_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is attached then, since it could not be again; the fix is to switch it on."""
    (tmp_path / "ftrace").write_text("0\n")
    monkeypatch.setattr(features, "_FTRACE", tmp_path / "ftrace")
    monkeypatch.setattr(features, "_bpf", lambda *_: pytest.fail("a program was loaded"))
    finding = check._returns()
    assert finding.level is Level.WARN
    assert finding.detail.startswith("ftrace is off: connects that fail before a SYN")
    assert "kernel.ftrace_enabled=1" in finding.fix


def test_functions_returning_without_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who may load no program is told that it is not known, and how to know it."""
    (tmp_path / "status").write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr(features, "_STATUS", tmp_path / "status")
    finding = check._returns()
    assert finding.level is Level.WARN
    assert finding.detail.startswith("not known without root")
    assert finding.fix == "sudo tcp-trace check"


def test_a_kprobe_that_is_not_run(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can be placed and sees nothing is no hook; the fix says what to switch on."""
    assert (kernel / "kprobe").exists()
    monkeypatch.setattr(features, "is_kprobe_run", lambda: False)
    finding = check._hook(Hook.AUTO)
    assert finding.level is Level.WARN
    assert "is not run; the service takes the tracepoint" in finding.detail
    assert "/sys/kernel/debug/kprobes/enabled" in finding.fix
    assert check._hook(Hook.KPROBE).level is Level.FAIL
    assert check._hook(Hook.TRACEPOINT).level is Level.OK


def test_hosts_that_are_watched() -> None:
    """Each name is resolved; one that has no address is a warning, since it may have one later."""
    environ = {"DEST_IP": "localhost", "DEST_HOST": "does-not-exist.invalid:1"}
    environ |= {"SERVICE_USER": SERVICE, "STATE_DIR": "/nowhere"}
    found, missing = (one for one in check.run(environ, None) if one.name == "host")
    assert (found.level, missing.level) == (Level.OK, Level.WARN)
    assert "127.0.0.1" in found.detail
    assert missing.detail.startswith("does-not-exist.invalid cannot be resolved")
    assert "DEST_HOST" in missing.fix
