"""The virtual machine as a fixture: without one, a test that asks for `vm` fails; none skips."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import Machine
from tests.vm.recipe import DEFAULT_KERNEL, recipes
from tests.vm.service import Peer, Receiver, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --vm-kernel; pytest knows it only when tests/vm is named on the command line."""
    parser.addoption(
        "--vm-kernel",
        choices=list(recipes()),
        default=_default_kernel(),
        help="kernel series of the virtual machine (default: $TCP_TRACE_VM_KERNEL, else 6.1)",
    )


def _default_kernel() -> str:
    return os.environ.get("TCP_TRACE_VM_KERNEL", DEFAULT_KERNEL)


@pytest.fixture(scope="session")
def vm_kernel(pytestconfig: pytest.Config) -> str:
    """Return the kernel series under test, such as "6.1"."""
    return str(pytestconfig.getoption("--vm-kernel", default=_default_kernel()))


@pytest.fixture(scope="session")
def vm(vm_kernel: str, pytestconfig: pytest.Config) -> Iterator[Machine]:
    """Boot one machine for all tests of the session, with this checkout in /opt/tcp-trace."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def report(line: str) -> None:
        # A first build takes minutes: show that it is alive, past pytest's capture.
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", end="", file=sys.stderr, flush=True)

    with Machine(vm_kernel, report=report) as machine:
        machine.put_checkout(_REPOSITORY)
        yield machine


@pytest.fixture(scope="session")
def peer(vm: Machine) -> Peer:
    """Give the machine somewhere to connect to."""
    return Peer(vm)


@pytest.fixture(scope="session")
def receiver(vm: Machine) -> Receiver:
    """Start a webhook in the machine."""
    return Receiver(vm)


@pytest.fixture(scope="session")
def service(vm: Machine, receiver: Receiver) -> Service:
    """Install the service with `make install`; `use` starts it."""
    assert receiver.URL
    service = Service(vm)
    service.install()
    return service
