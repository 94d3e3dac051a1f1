"""Every part of the kernel program, also those that this kernel does not take, is compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Where the kernel takes them, the parts are loaded, too; where not, that fails behind the compiler.
_COMPILE = """
import sys
from types import SimpleNamespace
from tcp_trace import config
from tcp_trace.kernel import program

settings = config.load({"STATE_DIR": "/tmp", "EVENTS": sys.argv[1]}, None)
constants = [*program._constants(settings, SimpleNamespace(uid=65_534)), *sys.argv[2:]]
layout = program._layout()
print("compiling", flush=True)
program._compile(layout, constants, frozenset({"RETURNS", "NAMES"}))
"""


@pytest.mark.parametrize("defined", ["-DHOOK_KPROBE", "-DHOOK_TRACEPOINT"])
@pytest.mark.parametrize("events", ["failures", "attempts", "all"])
def test_all_parts_compile(events: str, defined: str) -> None:
    """None takes more of the stack than there is: else the start would do without it in silence."""
    command = [sys.executable, "-c", _COMPILE, events, defined]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "compiling\n"
    assert "error:" not in done.stderr
    assert "Failed to compile" not in done.stderr
