"""The real service on this kernel, under each hook that the kernel allows."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.kernel import btf, features
from tests.kernel import asking, dns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network
    from tests.kernel.dns import NameServer

KPROBES = Path("/sys/bus/event_source/devices/kprobe/type")


@functools.cache
def hooks() -> list[str]:
    """Return the hooks to test: those of `TCP_TRACE_HOOKS`, else all that this kernel has.

    Always the same objects: before pytest 8 a fixture whose parameter is equal but not the same is
    set up anew, and with it the service, for each test.
    """
    asked = os.environ.get("TCP_TRACE_HOOKS", "")
    return asked.split(",") if asked else ["kprobe"] * KPROBES.exists() + ["tracepoint"]


@functools.cache
def watches_returns() -> bool:
    """Tell whether this kernel lets programs watch functions returning."""
    connect = "tcp_v4_connect"
    number = btf.read(functions=[connect]).functions[connect]
    return bool(features.can_watch_returning(number))


_RETURNS = (
    *("test_names.py", "test_name_sources.py", "test_named_races.py", "test_named_incidents.py"),
    "test_returned_budgets.py",
)

# A kernel that lets no program watch functions returning can learn no names and no errors.
collect_ignore = [
    *_RETURNS * (not watches_returns()),
    *["test_disarmed.py"] * ("kprobe" not in hooks()),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes a `hook` under every hook."""
    if "hook" in metafunc.fixturenames:
        metafunc.parametrize("hook", hooks(), scope="module", indirect=True)


@pytest.fixture(scope="module")
def hook(request: pytest.FixtureRequest) -> str:
    """Return the hook to test.

    A fixture, since before pytest 8 a parameter of a module is set up anew for each value of the
    parameters beside it, and with it the service.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Return two namespaces with a cable; in the server's, ports from 11000 on are dropped."""
    sandbox.require()
    with sandbox.network("tcp dport 11000-11999 drop") as made:
        yield made


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[NameServer]:
    """Return a name server that programs in the client's namespace can ask."""
    with asking.servers(network) as running:
        yield running


@pytest.fixture
def resolver(network: Network) -> Iterator[Callable[..., None]]:
    """Let programs in the client's namespace ask the name server; say how else they are to."""
    with dns.resolver(network.client) as ask:
        yield ask


@pytest.fixture(scope="module")
def version_2() -> Path:
    """Return where cgroups of version 2 are mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    found = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    if not found:
        pytest.skip("no cgroups of version 2 are mounted here")
    return found[0]
