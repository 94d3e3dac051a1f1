"""The log, rotated while it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED, LOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Line, Peer, Service

_CONNECTS = 2300
_ROTATIONS = 4


@pytest.fixture
def restarted(service: Service) -> Iterator[Service]:
    """Let the service start anew for EVENTS, here and for the tests that follow."""
    service.systemctl("stop")
    yield service
    service.systemctl("stop")


def test_rotation_under_load_loses_no_line(vm: Machine, restarted: Service, peer: Peer) -> None:
    """2,300 attempts over 4 forced rotations are 2,300 whole lines, in files of the right owner."""
    address = peer.address()
    # Each has a line of its own; failures that say the same are summed up.
    restarted.use(DEST_IP=address, EVENTS="attempts")
    # What earlier tests wrote goes; 14 rotations are kept.
    vm.run(f"rm -f {LOG_FILE}.*")
    load = restarted.start_connects(
        "load", address, CLOSED, "--times", str(_CONNECTS), "--pause", "0.002"
    )
    for rotation in range(1, _ROTATIONS + 1):
        wanted = rotation * _CONNECTS // (_ROTATIONS + 1)
        vm.wait_until(f"[ $(zcat -f {LOG_FILE}* | grep -c '\"connect begun\"') -ge {wanted} ]", 300)
        vm.run("logrotate -f /etc/logrotate.d/tcp-trace")
    assert restarted.wait(load, 300).ends == {"ECONNREFUSED": _CONNECTS}
    vm.wait_until(f"[ $(zcat -f {LOG_FILE}* | grep -c '\"connect begun\"') -ge {_CONNECTS} ]")

    text = vm.run(f"zcat -f {LOG_FILE}*").stdout
    lines: list[Line] = [json.loads(line) for line in text.splitlines()]
    begun = [_identity(line) for line in lines if line["message"] == "connect begun"]
    assert len(begun) == _CONNECTS
    assert len(set(begun)) == _CONNECTS
    assert not [line for line in lines if "lost" in line["message"]]
    _assert_files(vm)


def _identity(line: Line) -> tuple[str, str]:
    return line["comm"], line["attempt"]


def _assert_files(vm: Machine) -> None:
    listing = vm.run(f"stat -c '%n %a %U %G %s' {LOG_FILE}*").stdout
    files = {name: rest for name, *rest in map(str.split, listing.splitlines())}
    # The youngest stays uncompressed: the service may still write to it.
    older = [f"{LOG_FILE}.{number}.gz" for number in range(2, _ROTATIONS + 1)]
    assert sorted(files) == sorted([LOG_FILE, f"{LOG_FILE}.1", *older])
    for name, (mode, user, _group, size) in files.items():
        assert (mode, user) in {("640", "tcp-trace"), ("600", "tcp-trace")}, name
        assert int(size) > 0, name
    assert files[LOG_FILE][:3] == ["640", "tcp-trace", "adm"]
    for name in older:
        vm.run(["gzip", "-t", name])
