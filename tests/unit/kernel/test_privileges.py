"""What a process that gave up its privileges has left; each is a process of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tcp_trace.kernel.privileges import CAP_BPF, CAP_KILL

ROOT = Path(__file__).parents[3]
DAEMON = pwd.getpwnam("daemon")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who has privileges")

_CODE = """
import os, sys
from pathlib import Path
from tcp_trace.kernel.privileges import Account, become, prctl, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
import ctypes
kept, uid, gid = map(int, sys.argv[1:])
prctl(PR_SET_PDEATHSIG, 15)
become(Account(uid, gid, (gid, 4)), kept)
signal = ctypes.c_int()
prctl(PR_GET_PDEATHSIG, ctypes.addressof(signal))
print(Path("/proc/self/status").read_text(), f"Signal:\\t{signal.value}", sep="")
try:
    os.setresuid(0, 0, 0)
except PermissionError:
    print("Root:\\tno")
"""


def left(kept: int) -> dict[str, str]:
    """Return the kernel's account of a process that kept these capabilities."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(kept), str(DAEMON.pw_uid), str(DAEMON.pw_gid)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition(":\t") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in lines}


@pytest.mark.parametrize("kept", [0, CAP_BPF, CAP_KILL])
def test_only_what_is_kept_is_left(kept: int) -> None:
    """In no set is more, and none is inherited; users and groups are those of the account alone."""
    found = left(kept)
    assert {int(found[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {kept}
    assert {int(found[name], 16) for name in ("CapInh", "CapAmb")} == {0}
    assert found["Uid"].split() == [str(DAEMON.pw_uid)] * 4
    assert found["Gid"].split() == [str(DAEMON.pw_gid)] * 4
    assert set(found["Groups"].split()) == {str(DAEMON.pw_gid), "4"}
    assert (found["NoNewPrivs"], found["Root"]) == ("1", "no")
    assert found["Signal"] == "15"
