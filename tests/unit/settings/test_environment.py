"""What of an environment reaches the service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tcp_trace.settings import environment
from tcp_trace.settings.variables import VARIABLES

ROOT = Path(__file__).parents[3]


def test_what_changes_what_is_executed_is_left_out() -> None:
    """Only what is listed passes; path and locale are fixed."""
    hostile = {"PYTHONPATH": "x", "LD_PRELOAD": "x", "TMPDIR": "x", "CC": "x", "BCC_X": "x"}
    hostile |= {"LANG": "tr_TR.UTF-8", "LC_CTYPE": "x", "HOME": "x", "BASH_FUNC_x%%": "x", "": "x"}
    passed = environment.allowed({**hostile, "PATH": "/nowhere", "LC_ALL": "tr_TR.UTF-8"})
    assert passed == {"PATH": environment.PATH, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}


def test_what_the_service_reads_is_passed_as_it_is() -> None:
    """Its variables, what systemd sets, proxies, certificates; whatever bytes they hold."""
    names = [*(variable.name for variable in VARIABLES), "NOTIFY_SOCKET", "WATCHDOG_USEC"]
    names += ["STATE_DIRECTORY", "JOURNAL_STREAM", "https_proxy", "HTTPS_PROXY", "NO_PROXY"]
    names += ["TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "MALLOC_ARENA_MAX"]
    given = dict.fromkeys(names, "\udcff\n")
    passed = environment.allowed(given)
    assert {name: passed[name] for name in names} == given


def test_a_process_goes_on_with_nothing_else() -> None:
    """Also its own libraries see the restricted environment, and a locale in which i is I."""
    code = (
        "import ctypes, locale, os\n"
        "from tcp_trace.settings import environment\n"
        "environment.restrict()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.getenv.restype = ctypes.c_char_p\n"
        "print(libc.getenv(b'CPATH'), libc.getenv(b'PATH'), locale.setlocale(locale.LC_ALL))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"CPATH": "/x", "LC_ALL": "C.UTF-8", "PATH": "/x", "": "empty"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"None {environment.PATH.encode()!r} C\n", done.stderr
