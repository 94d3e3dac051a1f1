"""What root executes while the service is tried out, and who could change it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tcp_trace import __version__, resources
from tcp_trace.commands import scratch
from tcp_trace.kernel import compiler, headers, loader
from tcp_trace.kernel.layout import Layout

ROOT = Path(__file__).parents[3]
DAEMON = pwd.getpwnam("daemon")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a user")


def changeable(path: Path) -> list[Path]:
    """Return what somebody else than root could replace of a path, its parents included."""
    found = {one: one.lstat() for one in (path, *path.parents)}
    return [one for one, of in found.items() if of.st_uid or of.st_mode & 0o022]


def as_daemon(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as another user of the host."""
    user = f"--reuid={DAEMON.pw_uid}", f"--regid={DAEMON.pw_gid}", "--clear-groups"
    return subprocess.run(["setpriv", *user, *command], capture_output=True, text=True, check=False)


@needs_root
def test_nobody_but_root_can_change_what_root_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever umask and TMPDIR are: every file, and every directory on the way to it."""
    monkeypatch.setenv("TMPDIR", "/var/tmp")  # noqa: S108 - that is the point
    code = (
        "import os; os.umask(0)\n"
        "from tcp_trace.commands import scratch\n"
        "with scratch.directory() as made: print(scratch.program(), made, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        run, made = map(Path, process.stdout.readline().decode().split())
        tree = [one for one in (made, *run.parents[1].rglob("*")) if not one.is_symlink()]
        assert len(tree) > 60
        assert [one for path in tree for one in changeable(path)] == []
        for target in (run, run.parent, run.parents[1], run.parents[2], made):
            assert as_daemon("mv", target, f"{target}.gone").returncode
            assert as_daemon("cp", "-T", "/etc/hostname", target).returncode
            assert as_daemon("touch", target / "x").returncode
        assert as_daemon("cat", run).returncode == 0
        process.communicate(b"\n")
    assert not run.exists()


@needs_root
def test_nothing_else_is_imported(tmp_path: Path) -> None:
    """Neither the working directory nor PYTHONPATH or PYTHONSTARTUP choose what root runs."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('taken over')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('taken over')")
    hostile = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-I", scratch.program(), "--version"],
        cwd=tmp_path,
        env={**os.environ, **hostile},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"tcp-trace {__version__}\n", "")


def test_no_program_is_looked_for_where_one_stands() -> None:
    """Python puts the working directory in front of its modules where code comes with -c or -m."""
    loose = re.compile(r"""sys\.executable,\s*["']-[cm]["']""")
    for path in (*(ROOT / "tcp_trace").rglob("*.py"), ROOT / "Makefile"):
        assert not loose.search(path.read_text()), path
    assert "$(PYTHON) -m tcp_trace" not in (ROOT / "Makefile").read_text()


@needs_root
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, 0])
def test_user_and_directory_go_with_the_process(end: int) -> None:
    """However it ends; and what still runs as that user ends, too."""
    code = (
        "import subprocess\n"
        "from tcp_trace.commands import scratch\n"
        "user = scratch.account()\n"
        "subprocess.Popen(['sleep', '60'], user=user.pw_uid, start_new_session=True,"
        " stdout=subprocess.DEVNULL)\n"
        "print(user.pw_name, user.pw_uid, scratch.program(), flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        name, uid, path = process.stdout.readline().decode().split()
        user = pwd.getpwnam(name)
        assert (user.pw_shell, user.pw_dir) == ("/usr/sbin/nologin", "/nonexistent")
        assert str(process.pid) in name
        if end:
            process.send_signal(end)
        process.communicate(b"\n")
    until = time.monotonic() + 20
    while Path(path).parents[2].exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(path).parents[2].exists()
    assert name not in Path("/etc/passwd").read_text() + Path("/etc/group").read_text()
    left = [one for one in map(status, Path("/proc").glob("[0-9]*")) if f"\nUid:\t{uid}\t" in one]
    assert [one for one in left if "\nState:\tZ" not in one] == []


@needs_root
def test_many_at_a_time_leave_no_user() -> None:
    """All want to change /etc/passwd at one moment, in which only one can."""
    code = (
        "from tcp_trace.commands import scratch;"
        "print(scratch.account().pw_name, flush=True); input()"
    )
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(12)
    ]
    names = [process.stdout.readline().decode().strip() for process in many if process.stdout]
    assert len(set(filter(None, names))) == 12
    for process in many:
        assert process.stdin is not None
        process.stdin.close()
    for process in many:
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
    present = Path("/etc/passwd").read_text()
    assert [name for name in names if name in present] == []


def status(process: Path) -> str:
    """Return the status of a process, nothing where it ends meanwhile."""
    try:
        return (process / "status").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("source", "tree"), [("btf", resources.directory("bpf") / "kernel"), ("headers", None)]
)
def test_the_compiler_reads_no_tree_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, tree: Path | None
) -> None:
    """It reads the package's own, root's as the program is; without BTF BCC finds the kernel's."""
    read: list[str | None] = []

    def compile_it(*_: object, **__: object) -> None:
        read.append(os.environ.get("BCC_KERNEL_SOURCE"))

    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))

    class Bpf:
        __init__ = compile_it

    monkeypatch.setattr(compiler, "import_bcc", lambda: SimpleNamespace(BPF=Bpf))
    bpf, layout = resources.directory("bpf"), Layout((), source, {})
    compiler.Module(loader.unit_of(loader.Plan([], None), None, {}, bpf, layout))
    assert read == [tree and str(tree)]


@needs_root
def test_headers_that_others_can_change_are_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would choose what runs in the kernel: a directory of theirs on the way is enough."""
    linked, build, common = (tmp_path / name for name in (os.uname().release, "arch", "common"))
    for path in (build / "include/generated/autoconf.h", common / "include/linux/kconfig.h"):
        path.parent.mkdir(parents=True)
        path.touch()
    linked.mkdir()
    (linked / "build").symlink_to(build)
    (linked / "source").symlink_to(common)
    monkeypatch.setattr(headers, "MODULES", tmp_path)
    headers.require()
    for directory in (linked, build, common):
        os.chown(directory, DAEMON.pw_uid, DAEMON.pw_gid)
        with pytest.raises(headers.HeadersMissing, match="only root can change"):
            headers.require()
        os.chown(directory, 0, 0)
        directory.chmod(0o775)
        with pytest.raises(headers.HeadersMissing, match="only root can change"):
            headers.require()
        directory.chmod(0o755)
    headers.require()
