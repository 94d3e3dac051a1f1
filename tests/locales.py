"""A locale of each kind, and an environment that means no good."""

from __future__ import annotations

import subprocess
from pathlib import Path

# By their sources, of the package locales: the virtual machines have none, and take less space.
_SOURCES = {"turkish": ("tr_TR", "UTF-8"), "latin-1": ("de_DE", "ISO-8859-1")}
_MADE = _SOURCES if Path("/usr/share/i18n/locales/tr_TR").exists() else {}

KINDS = (*_MADE, "C", "C.UTF-8", "POSIX", "none", "absent")

HOSTILE: dict[bytes, bytes] = {
    b"PATH": b"",
    b"TMPDIR": b"/nowhere",
    b"COLUMNS": b"0",
    b"LINES": b"-1",
    b"TERM": b"\x1b[2J",
    b"TZ": b":/nowhere",
    b"PYTHONPATH": b"/nowhere",
    b"PYTHONHOME": b"/nowhere",
    b"PYTHONIOENCODING": b"ascii:strict",
    b"PYTHONWARNINGS": b"error",
    b"PYTHONUTF8": b"0",
    b"PYTHONMALLOC": b"debug",
    b"PYTHONSTARTUP": b"/nowhere",
    b"BCC_KERNEL_SOURCE": b"/nowhere",
    b"BCC_LINUX_VERSION_CODE": b"1",
    b"BCC_PROBE_PREFIX": b"/nowhere",
    b"CFLAGS": b"--no-such-flag",
    b"CPATH": b"/nowhere",
    b"C_INCLUDE_PATH": b"/nowhere",
    b"CCC_OVERRIDE_OPTIONS": b"+--no-such-flag",
    b"CC": b"/bin/false",
    b"NOTIFY_SOCKET": b"/nowhere/notify",
    b"WATCHDOG_USEC": "²".encode(),
    b"JOURNAL_STREAM": b"x:y",
    b"CREDENTIALS_DIRECTORY": b"/nowhere",
    b"INVOCATION_ID": b"\xff",
    b"NO_COLOR": b"\xff",
    b"BASH_FUNC_x%%": b"() { :; }",
    b"NAME_\xff": b"\xff\xfe",
    b"": b"no name",
    **{b"MUCH_%d" % number: b"x" * 100_000 for number in range(10)},
}


def make(directory: Path) -> None:
    """Compile the locales that a bare system does not have."""
    for source, charmap in _MADE.values():
        command = ["localedef", "-i", source, "-f", charmap, f"{directory}/{source}.{charmap}"]
        subprocess.run(command, check=True, capture_output=True)


def variables(kind: str, directory: Path) -> dict[str, str]:
    """Return what the environment of somebody with such a locale has of it."""
    return {
        "turkish": {"LOCPATH": str(directory), "LANG": "tr_TR.UTF-8"},
        "latin-1": {"LOCPATH": str(directory), "LC_ALL": "de_DE.ISO-8859-1"},
        "C": {"LC_ALL": "C"},
        "C.UTF-8": {"LANG": "C.UTF-8"},
        "POSIX": {"LANG": "POSIX"},
        "none": {},
        "absent": {"LC_ALL": "xx_XX.UTF-8"},
    }[kind]
