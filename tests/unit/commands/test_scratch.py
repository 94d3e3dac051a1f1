"""What root executes while the service is tried out, and who could change it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tcp_trace import __version__
from tcp_trace.commands import scratch
from tcp_trace.kernel import headers, program

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


def test_the_compiler_reads_where_others_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in TMPDIR, which may be a directory where others rename what root has put there."""
    seen: list[os.stat_result] = []

    def compile_it(**_: object) -> None:
        tree = Path(os.environ["BCC_KERNEL_SOURCE"])
        # The compiler stands in the tree, and clang looks into ../lib, too.
        assert tree.parents[1] == Path("/tmp")  # noqa: S108 - it is sticky
        seen.append(tree.parent.stat())

    tmp_path.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(program, "_import_bcc", lambda: SimpleNamespace(BPF=compile_it))
    layout = program._Layout([], headers.Headers("6.1", exact=True, trees=()), "btf")
    program._compile(layout, [], frozenset())
    (made,) = seen
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (os.geteuid(), 0o700)


@needs_root
def test_headers_that_others_can_change_are_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would choose what runs in the kernel: a directory of theirs on the way is enough."""
    build = tmp_path / "6.1.0/build"
    for name in ("include/generated/autoconf.h", "include/linux/kconfig.h"):
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).touch()
    monkeypatch.setattr(headers, "MODULES", tmp_path)
    monkeypatch.setattr(headers, "SOURCES", tmp_path / "none")
    assert headers.find("6.1.0").trees == (build,)
    for directory in (build, build.parent):
        os.chown(directory, DAEMON.pw_uid, DAEMON.pw_gid)
        with pytest.raises(headers.HeadersMissing, match="only root can change"):
            headers.find("6.1.0")
        os.chown(directory, 0, 0)
        directory.chmod(0o775)
        with pytest.raises(headers.HeadersMissing, match="only root can change"):
            headers.find("6.1.0")
        directory.chmod(0o755)
    assert headers.find("6.1.0").exact
