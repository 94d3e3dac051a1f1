"""The kernel tests on this machine's kernel, but for those that no kernel and no hook changes.

They run under the kprobe, which the build machine's own kernel may not have; with
`TCP_TRACE_VM_HOOKS=kprobe,tracepoint` under both hooks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import CHECKOUT

if TYPE_CHECKING:
    from tests.vm.machine import Machine

RESULTS = "/tmp/accuracy"  # noqa: S108 - inside the machine, which is ours alone
TIMEOUT_S = 3600.0

# Compilers, locales, locks and who keeps descriptors are the same under every kernel: the host runs
# these. Restarts by systemd itself are in test_restart.py beside this.
ON_THE_HOST = ("parts", "environment", "second", "restart")

HOOKS = os.environ.get("TCP_TRACE_VM_HOOKS", "kprobe").split(",")
WANTED = os.environ.get("TCP_TRACE_ACCURACY")

# `make test` has a machine of its own for `most`, and another one for `some` and for the tests of
# the service beside it: both take about as long.
SOME = ("names", "name_sources", "named_races")
SHARES = {
    "some": " ".join(f"tests/kernel/test_{name}.py" for name in SOME),
    "most": " ".join(
        ["tests/kernel", *(f"--ignore=tests/kernel/test_{name}.py" for name in SOME + ON_THE_HOST)]
    ),
}
if WANTED:
    SHARES = {"matrix": "tests/kernel/test_accuracy.py"}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("hook", HOOKS)
def test_kernel_tests(vm: Machine, hook: str, share: str) -> None:
    """What a kernel decides passes under a hook: not one fails, and not one is skipped.

    With `TCP_TRACE_ACCURACY` only the matrix runs, and its results are put there.
    """
    # The soak is for the host: here it would take minutes. So would an installed service that
    # watches all this beside the one under test, and its log would hold what no test of it made.
    variables = f"CI=1 TCP_TRACE_HOOKS={hook} TCP_TRACE_ACCURACY={RESULTS} TCP_TRACE_SOAK=2000"
    was_active = vm.run("systemctl is-active -q tcp-trace", check=False).returncode == 0
    if was_active:
        vm.run("systemctl stop tcp-trace")
    done = vm.run(
        f"cd {CHECKOUT} && {variables} python3 -B -m pytest -q -p no:cacheprovider {SHARES[share]}",
        timeout=TIMEOUT_S,
    )
    if was_active:
        vm.run("systemctl start tcp-trace")
    summary = done.stdout.strip().splitlines()[-1]
    assert re.search(r"\d{2,} passed", summary), summary
    assert "skipped" not in summary
    if WANTED:
        fetch(vm, Path(WANTED))


def fetch(vm: Machine, directory: Path) -> None:
    """Bring the matrix's results out of the machine."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in vm.run(f"ls {RESULTS}").stdout.split():
        directory.joinpath(name).write_text(vm.run(f"cat {RESULTS}/{name}").stdout)
