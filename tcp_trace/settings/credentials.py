"""The credentials of the unit, for commands that root runs beside it.

systemd reads the files that LoadCredential= names, which are root's alone, and gives the service
copies. A command has none of those: so root reads the files themselves, as systemd would.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.settings.environment import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNIT = "tcp-trace.service"
_RUNS_SYSTEMD = Path("/run/systemd/system")
_LINE = re.compile(r"LoadCredential\s*=\s*(?:([^\s:/]+):(/[^\s:]*))?\s*")
_SECONDS = 5.0
_MOST_BYTES = 1 << 20  # as systemd has it
_VARIABLE = "CREDENTIALS_DIRECTORY"


@contextlib.contextmanager
def of_the_unit(environ: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield an environment with the credentials that the unit gets, while root reads with it.

    Where the given one has credentials already, or the unit has none, it is returned unchanged.
    """
    named = {} if os.geteuid() != 0 or environ.get(_VARIABLE) else parse(_unit())
    if not named:
        yield environ
        return
    with tempfile.TemporaryDirectory(dir="/run", prefix="tcp-trace-credentials-") as directory:
        for name, path in named.items():
            # A missing credential is reported by name where it is used.
            with contextlib.suppress(OSError):
                Path(directory, name).write_bytes(_content(path))
        yield {**environ, _VARIABLE: directory}


def _content(path: Path) -> bytes:
    """Return what a regular file holds; raises OSError for anything else, such as a FIFO.

    The directory may be the service user's, and root waits for nobody.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, opened without waiting
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        return file.read(_MOST_BYTES)


def parse(unit: str) -> dict[str, Path]:
    """Return the files of a unit's credentials, as `systemctl cat` shows it with its drop-ins."""
    found: dict[str, Path] = {}
    for line in unit.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and match[1]:
            found[match[1]] = Path(match[2])
        elif match:
            found.clear()
    return found


def _unit() -> str:
    """Return the unit's text, an empty one where there is no systemd or no such unit."""
    program = shutil.which("systemctl", path=PATH)
    if program is None or not _RUNS_SYSTEMD.is_dir():
        return ""
    try:
        done = subprocess.run(
            [program, "cat", "--no-pager", UNIT],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
