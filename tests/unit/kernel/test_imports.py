"""Whoever imports a module gets its names, and nothing happens on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Prints what was opened that is no module, and which libraries were loaded.
_IMPORT = """
import ctypes, sys
from pathlib import Path
done = []
def heard(event, arguments):
    if event == "ctypes.dlopen":
        done.append(f"library {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], str):
        if not arguments[0].endswith((".py", ".pyc", ".so")):
            done.append(f"file {arguments[0]}")
import logging, socket, ipaddress, pwd, json
sys.addaudithook(heard)
for path in sorted(Path("tcp_trace").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts)
    if path.parts[1] in sys.argv[1:]:
        __import__(name.removesuffix(".__init__"))
print("\\n".join(done))
"""


def test_no_import_loads_a_library_or_reads_a_file() -> None:
    """Of the rooms that are near the kernel, in both stages."""
    rooms = ("kernel", "probes", "host")
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, *rooms],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.split("\n") == ["", ""]
