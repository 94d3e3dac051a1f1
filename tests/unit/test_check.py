"""`tcp-trace check`: each thing that can be amiss is found, with its fix."""

from __future__ import annotations

import os
import platform
import pwd
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import pytest

from tcp_trace import check, config, findings
from tcp_trace.config import Hook
from tcp_trace.findings import Finding, Level
from tcp_trace.kernel import btf, features, headers

if TYPE_CHECKING:
    from pathlib import Path

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
    """Without any headers the fix is the package to install; without BTF the exact ones are."""
    monkeypatch.setattr(headers, "MODULES", tmp_path)
    monkeypatch.setattr(headers, "SOURCES", tmp_path)
    assert [(item.name, item.level) for item in check._layout()][1] == ("headers", Level.FAIL)
    assert f"install the package linux-headers-{os.uname().release}" in list(check._layout())[1].fix

    def no_btf() -> dict[str, int]:
        raise btf.BtfError("this kernel has no type information")

    monkeypatch.setattr(btf, "offsets", no_btf)
    first, second = check._layout()
    assert (first.level, second.level) == (Level.WARN, Level.FAIL)
    assert "its exact headers are needed" in second.detail


def test_wrong_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package called bcc on PyPI is told apart, and so is having none."""
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
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


def test_state_directory(tmp_path: Path) -> None:
    """The service's user must be able to write there; systemd makes what does not exist."""

    def found(path: Path, user: str = ME) -> Level:
        environ = {"STATE_DIR": str(path), "SERVICE_USER": user}
        return check._state_dir(config.load(environ, None)).level

    assert found(tmp_path) is Level.OK
    assert found(tmp_path / "absent") is Level.WARN
    (tmp_path / "file").touch()
    assert found(tmp_path / "file") is Level.FAIL
    assert found(tmp_path, "nobody") is Level.FAIL
    tmp_path.chmod(0o777)
    assert found(tmp_path, "nobody") is Level.OK
    tmp_path.chmod(0o500)
    assert found(tmp_path) is Level.FAIL


def reach(url: str) -> Finding:
    """Return what check finds of a webhook."""
    (finding,) = check._webhooks(config.load({"SLACK_URL": url}, None))
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
        finding = reach(f"http://user:sesame@127.0.0.1:{server.server_address[1]}/services/sesame")
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
        failed = reach(f"https://127.0.0.1:{port}/services/sesame")
        tls.join()
    refused = reach(f"http://127.0.0.1:{port}/services/sesame")
    unknown = reach("https://nowhere.invalid/services/sesame")
    assert failed.detail == f"127.0.0.1:{port}: TLS fails"
    assert refused.detail == f"127.0.0.1:{port}: connection refused"
    assert unknown.detail == "nowhere.invalid: the name cannot be resolved"
    for finding in (failed, refused, unknown):
        assert finding.level is Level.FAIL
        assert finding.fix
        assert "sesame" not in str(finding)


def test_no_webhook_is_a_warning() -> None:
    """Without a webhook the service runs, but nobody is told."""
    (finding,) = check._webhooks(config.load({}, None))
    assert finding.level is Level.WARN


def test_every_webhook_of_the_routes_is_reached(tmp_path: Path) -> None:
    """Each by its name; the fix names what to correct."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    path.write_text(
        '[webhook.a]\nurl = "http://127.0.0.1:1/sesame"\n[[route]]\nto = "a"\n', encoding="utf-8"
    )
    (finding,) = check._webhooks(config.load({"ROUTES_FILE": str(path)}, None))
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


@pytest.mark.parametrize(("answer", "level"), [(1, Level.OK), (0, Level.WARN), (-1, Level.WARN)])
def test_functions_returning(monkeypatch: pytest.MonkeyPatch, answer: int, level: Level) -> None:
    """Whether a kernel lets them be watched is believed only when it takes a program for that."""
    tried = []

    class Library:
        """A libbpf that tells what the kernel answered."""

        def libbpf_probe_bpf_prog_type(self, kind: int, _: None) -> int:
            tried.append(kind)
            return answer

    monkeypatch.setattr(features, "libbpf", Library)
    assert check._returns().level is level
    assert tried == [26]  # BPF_PROG_TYPE_TRACING


def test_hosts_that_are_watched() -> None:
    """Each name is resolved; one that has no address is a warning, since it may have one later."""
    environ = {"DEST_IP": "localhost", "DEST_HOST": "does-not-exist.invalid:1"}
    found, missing = (one for one in check.run(environ, None) if one.name == "host")
    assert (found.level, missing.level) == (Level.OK, Level.WARN)
    assert "127.0.0.1" in found.detail
    assert missing.detail.startswith("does-not-exist.invalid cannot be resolved")
    assert "DEST_HOST" in missing.fix
