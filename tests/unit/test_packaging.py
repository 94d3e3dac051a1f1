"""What is installed: by make, in the wheel, and what systemd and logrotate make of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tcp_trace import __version__
from tcp_trace.settings import config

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd/tcp-trace.service"
RESOURCES = ("bpf", "systemd", "logrotate")


def run(*command: str | Path, **environ: str) -> str:
    """Run a command in the project and return its stdout; it must succeed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(goal: str, destdir: Path, prefix: str = "/usr/local") -> str:
    """Run a goal of make and return what it said."""
    return run("make", goal, f"DESTDIR={destdir}", f"PREFIX={prefix}")


def files(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory with their contents; compiled ones hold a time."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_install_is_idempotent_and_keeps_configuration(tmp_path: Path) -> None:
    """A second install changes nothing, and never the configuration or a changed logrotate file."""
    make("install", tmp_path)
    once = files(tmp_path)
    stale = tmp_path / "usr/local/lib/tcp-trace/tcp_trace/of_an_older_version.py"
    stale.touch()
    make("install", tmp_path)
    assert files(tmp_path) == once
    ours = tmp_path / "etc/tcp-trace/tcp-trace.env", tmp_path / "etc/logrotate.d/tcp-trace"
    for path in ours:
        path.write_text("# ours\n")
    told = make("install", tmp_path)
    for path in ours:
        assert path.read_text() == "# ours\n"
        assert f"kept: {path}" in told
    assert ours[0].stat().st_mode & 0o777 == 0o640


def test_uninstall_leaves_configuration(tmp_path: Path) -> None:
    """After uninstall only the configuration is left; after purge nothing is."""
    make("install", tmp_path)
    assert "Kept:" in make("uninstall", tmp_path)
    assert set(files(tmp_path)) == {"etc/tcp-trace/tcp-trace.env"}
    make("uninstall", tmp_path)
    make("purge", tmp_path)
    assert files(tmp_path) == {}


def test_uninstall_leaves_a_changed_logrotate_file(tmp_path: Path) -> None:
    """A logrotate file that was changed is the administrator's."""
    make("install", tmp_path)
    (tmp_path / "etc/logrotate.d/tcp-trace").write_text("# ours\n")
    make("uninstall", tmp_path)
    assert set(files(tmp_path)) == {"etc/tcp-trace/tcp-trace.env", "etc/logrotate.d/tcp-trace"}


def test_install_under_a_strict_umask(tmp_path: Path) -> None:
    """Whatever root's umask, the service's user can read what was installed."""
    old = os.umask(0o077)
    try:
        make("install", tmp_path)
    finally:
        os.umask(old)
    paths = list((tmp_path / "usr/local").rglob("*"))
    assert paths
    unreadable = [path for path in paths if not path.stat().st_mode & 0o004]
    assert unreadable == []
    assert (tmp_path / "usr/local/bin/tcp-trace").stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize(
    ("prefix", "units"),
    [
        ("/usr/local", "usr/local/lib/systemd/system"),
        ("/usr", "usr/lib/systemd/system"),
        ("/opt/tcp-trace", "etc/systemd/system"),
    ],
)
def test_unit_is_where_systemd_looks(tmp_path: Path, prefix: str, units: str) -> None:
    """The unit goes below the prefix where systemd looks there, and starts the prefix's program."""
    make("install", tmp_path, prefix)
    unit = (tmp_path / units / "tcp-trace.service").read_text()
    assert f"\nExecStart={prefix}/bin/tcp-trace run " in unit
    assert unit.replace(f"={prefix}/bin", "=/usr/local/bin") == UNIT.read_text()


def test_installed_program_runs(tmp_path: Path) -> None:
    """The launcher runs the installed package and nothing from the directory it is started in."""
    prefix = f"{tmp_path}/prefix"
    make("install", tmp_path / "root", prefix)
    shutil.move(tmp_path / "root" / prefix.lstrip("/"), prefix)
    (tmp_path / "tcp_trace.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(
        [f"{prefix}/bin/tcp-trace", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"tcp-trace {__version__}\n"
    where = f"import sys; sys.path.insert(0, '{prefix}/lib/tcp-trace');"
    where += "from tcp_trace import resources as r;"
    where += f"print(*[r.directory(n) for n in {RESOURCES}], sep=chr(10))"
    found = run("/usr/bin/python3", "-I", "-c", where).split()
    assert found == [f"{prefix}/lib/tcp-trace/tcp_trace/{name}" for name in RESOURCES]


@pytest.mark.skipif(find_spec("hatchling") is None, reason="apt install python3-hatchling")
def test_wheel_holds_everything(tmp_path: Path) -> None:
    """What stands at the top level travels inside the package, and the command is declared."""
    source = tmp_path / "source"
    for name in ("tcp_trace", *RESOURCES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", source)
    (source / "README.md").write_text("# tcp_trace\n")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=source, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "tcp-trace = tcp_trace.commands.cli:main" in archive.read(entry).decode()
    for name in RESOURCES:
        for path in files(ROOT / name):
            assert f"tcp_trace/{name}/{path}" in names


def test_unit_is_hardened() -> None:
    """The unit's exposure is rated 2.0 or lower by systemd."""
    told = run("systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT)
    assert "Overall exposure level" in told


def test_unit_is_understood(tmp_path: Path) -> None:
    """Every line of the unit is known to systemd, which warns of others and ignores them."""
    unit = tmp_path / "tcp-trace.service"
    unit.write_text(UNIT.read_text().replace("=/usr/local/bin/tcp-trace", "=/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "tcp-trace.service" not in done.stderr
    assert not [line for line in UNIT.read_text().splitlines() if " #" in line]


def test_unit_does_not_restart_what_cannot_start() -> None:
    """The exit code of a wrong configuration is the one that systemd does not restart after."""
    assert "\nRestartPreventExitStatus=78\n" in UNIT.read_text()


def test_sysusers_is_understood(tmp_path: Path) -> None:
    """The service's user is made from the file by systemd."""
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", ROOT / "systemd/tcp-trace.sysusers.conf")
    (entry,) = (tmp_path / "etc/passwd").read_text().splitlines()
    assert entry.split(":")[0] == "tcp-trace"
    assert entry.split(":")[4:] == ["tcp_trace service", "/var/lib/tcp-trace", "/usr/sbin/nologin"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: logrotate changes its user")


def test_every_error_of_the_configuration_is_told_by_the_example() -> None:
    """The example that is installed names no variable that the service does not know."""
    assert config.load({}, ROOT / "systemd/tcp-trace.env.example") == config.load({}, None)


@pytest.mark.parametrize("prefix", ["/usr/local", "/opt/tcp-trace"])
def test_what_is_installed_points_to_what_is_installed(tmp_path: Path, prefix: str) -> None:
    """Each page that an example, the unit or another page names is there to be read."""
    make("install", tmp_path, prefix)
    share = tmp_path / prefix.lstrip("/") / "share/doc/tcp-trace"
    named = set()
    for name, content in files(tmp_path).items():
        if name.startswith("etc/") or "/systemd/" in name:
            named |= set(re.findall(r"/(?:usr|opt)/[\w/.-]*doc/[\w/.-]*\w", content.decode()))
            assert not re.search(r"(?<![\w/])docs/\w", content.decode()), name
    assert f"{prefix}/share/doc/tcp-trace/docs/WEBHOOK.md" in named
    assert all((tmp_path / path.lstrip("/")).is_file() for path in named)
    for page in share.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve().relative_to(share.resolve())
            assert (share / target).exists() or target.parts[0] in {"tests", "bpf", "tools"}, link
