"""The installed service, and what is around it in the machine: a webhook, and a peer to connect to.

Tests share them, as they share the machine: each uses an address of the peer of its own, and
leaves the service running.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.vm.machine import CHECKOUT, Machine
from tests.webhook import SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.vm.qemu import Accel

UNIT = "tcp-trace"
ENV_FILE = "/etc/tcp-trace/tcp-trace.env"
LOG_FILE = "/var/log/tcp-trace/tcp-trace.log"
STATE = "/var/lib/tcp-trace"
DROP_INS = f"/run/systemd/system/{UNIT}.service.d"

OPEN, DROPPED, OPENED_LATER, CLOSED = 443, 6379, 6380, 5432
"""Ports of every address of the peer."""

WEBHOOK_PORT = 8065
_START_SECONDS = 320.0

Line = dict[str, Any]


class Made(NamedTuple):
    """What a program says of its connects: its pid, how many ended how, ms of the slowest one."""

    pid: int
    ends: dict[str, int]
    slowest: float


class Peer:
    """A network namespace that answers on 192.0.2.0/24 and 2001:db8::/64, every address of them."""

    NAME = "peer"

    def __init__(self, vm: Machine) -> None:
        self._vm = vm
        self._taken = 9
        vm.run(
            f"""set -e
            ip netns add {self.NAME}
            ip link add v0 type veth peer v0 netns {self.NAME}
            ip address add 198.51.100.1/24 dev v0
            ip -6 address add fd00::1/64 dev v0 nodad
            ip link set v0 up
            ip -n {self.NAME} link set lo up
            ip -n {self.NAME} link set v0 up
            ip -n {self.NAME} address add 198.51.100.2/24 dev v0
            ip -n {self.NAME} -6 address add fd00::2/64 dev v0 nodad
            ip -n {self.NAME} route add local 192.0.2.0/24 dev lo
            ip -n {self.NAME} -6 route add local 2001:db8::/64 dev lo
            # From 6.5 on the first SYNs are repeated each second; tests count on 1, 3, 7, 15 s.
            linear=/proc/sys/net/ipv4/tcp_syn_linear_timeouts
            [ ! -e $linear ] || echo 0 > $linear
            ip route add 192.0.2.0/24 via 198.51.100.2
            ip -6 route add 2001:db8::/64 via fd00::2"""
        )
        self.drop(DROPPED, OPENED_LATER)
        for port in (OPEN, OPENED_LATER):
            self.listen(port)

    def listen(self, port: int) -> str:
        """Accept connections to a port of every address; return the unit that does."""
        unit = f"listen-{port}"
        program = (
            f"import socket; s = socket.create_server(('', {port}), backlog=128)\n"
            "while True: s.accept()[0].close()"
        )
        self._vm.run(
            [
                *("systemd-run", "-q", "--collect", f"--unit={unit}"),
                *("ip", "netns", "exec", self.NAME, "/usr/bin/python3", "-c", program),
            ]
        )
        self._vm.wait_until(f"ip netns exec {self.NAME} ss -Hltn 'sport = {port}' | grep -q .")
        return unit

    def address(self) -> str:
        """Return an address that no other test uses: alerts of one test are not another's."""
        self._taken += 1
        return f"192.0.2.{self._taken}"

    def address6(self) -> str:
        """Return an IPv6 address in the same way."""
        self._taken += 1
        return f"2001:db8::{self._taken:x}"

    def drop(self, *ports: int) -> None:
        """Drop what comes for these ports, and for no others."""
        rules = (
            "flush ruleset; table inet t { chain c { type filter hook input priority 0; "
            f"tcp dport {{ {', '.join(map(str, ports))} }} drop; }}; }}"
        )
        self._vm.run(["ip", "netns", "exec", self.NAME, "nft", rules])


class Receiver:
    """The webhook that takes the place of Slack, on loopback in the machine."""

    RECORD, MODE = "/run/webhook.jsonl", "/run/webhook.mode"
    URL = f"http://127.0.0.1:{WEBHOOK_PORT}{SECRET}"

    def __init__(self, vm: Machine) -> None:
        self.vm = vm
        self.answer("200")
        self.start()

    def start(self) -> None:
        """Listen, unless it does."""
        script = f"{CHECKOUT}/tests/vm/receiver.py"
        self.vm.run(
            "systemctl is-active -q webhook || systemd-run -q --collect --unit=webhook "
            f"/usr/bin/python3 {script} {WEBHOOK_PORT} {self.RECORD} {self.MODE}"
        )
        self.vm.wait_until(f"ss -Hltn 'sport = {WEBHOOK_PORT}' | grep -q .")

    def stop(self) -> None:
        """Refuse connections."""
        self.vm.run("systemctl stop webhook")

    def answer(self, mode: str) -> None:
        """Answer with this status from now on, or `hang`."""
        self.vm.run(["bash", "-c", f"echo {mode} > {self.MODE}"])

    def messages(self, about: str) -> list[Line]:
        """Return the requests whose text has these words, in the order of arrival."""
        record = self.vm.run(f"touch {self.RECORD}; cat {self.RECORD}").stdout
        every = [json.loads(line) for line in record.splitlines()]
        return [one for one in every if about in one["payload"]["text"]]

    def wait_for(self, about: str, count: int = 1, timeout: float = 120.0) -> list[Line]:
        """Return the messages about something once there are so many."""
        until = time.monotonic() + timeout
        while len(found := self.messages(about)) < count:
            if time.monotonic() > until:
                message = f"{len(found)} of {count} messages about {about} within {timeout:.0f} s"
                raise AssertionError(message)
            time.sleep(0.2)
        return found


class Service:
    """The service as its administrator handles it: make, a configuration file, systemctl, a log."""

    BASE: Mapping[str, str] = {
        "SLACK_URL": Receiver.URL,
        "ALERT_AFTER": "1",
        "ALERT_INTERVAL": "4s",
        "RESOLVE_AFTER": "2s",
        "HOST_NAME": "db-1",
    }

    def __init__(self, vm: Machine) -> None:
        self.vm = vm

    @property
    def accel(self) -> Accel:
        """How the machine runs: what takes time takes ten times as long without KVM."""
        return self.vm.accel

    # Life

    def install(self) -> str:
        """Run `make install` in the checkout and return what it said."""
        # Compiling takes a minute in a machine that shares its processors with others.
        slow = "[Service]\\nTimeoutStartSec=5min\\n"
        self.vm.run(f"mkdir -p {DROP_INS} && printf '{slow}' > {DROP_INS}/slow.conf")
        return self.vm.run(f"make -C {CHECKOUT} install").stdout

    def configure(self, **variables: str) -> None:
        """Write the configuration: BASE with these changes; an empty value leaves one out."""
        lines = [f"{name}={value}\n" for name, value in {**self.BASE, **variables}.items() if value]
        self.vm.run(f"cat > {ENV_FILE}", input="".join(lines))

    def systemctl(self, verb: str, *, check: bool = True) -> int:
        """Run `systemctl VERB tcp-trace` and return its status; starts are not rationed."""
        self.vm.run(f"systemctl reset-failed {UNIT}", check=False)
        line = f"systemctl {verb} {UNIT}"
        return self.vm.run(line, check=check, timeout=_START_SECONDS).returncode

    def use(self, **variables: str) -> None:
        """Let the service run with this configuration: reload it, or start it where it is not."""
        self.configure(**variables)
        if self.show("ActiveState") != "active":
            self.systemctl("start")
            return
        self.reload("reloaded")

    def reload(self, expected: str) -> list[Line]:
        """Reload; return the new lines once one of them begins with `expected`."""
        before = self.count_lines()
        self.vm.run(f"systemctl reload {UNIT}")
        return self.wait_for_lines(expected, after=before)

    def drop_in(self, *settings: str) -> None:
        """Add these lines to the unit's [Service] section; none removes them again."""
        text = "\n".join(["[Service]", *settings, ""])
        line = f"cat > {DROP_INS}/test.conf" if settings else f"rm -f {DROP_INS}/test.conf"
        self.vm.run(f"{line} && systemctl daemon-reload", input=text)

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.vm.run(["systemctl", "show", "-P", name, UNIT]).stdout.strip()

    @property
    def pid(self) -> int:
        """The main process."""
        return int(self.show("MainPID"))

    def said(self) -> list[str]:
        """Return what the journal has of the unit's latest start, systemd's lines among them."""
        invocation = self.show("InvocationID")
        matches = f"_SYSTEMD_INVOCATION_ID={invocation} + INVOCATION_ID={invocation}"
        self.vm.run("journalctl --sync")
        return self.vm.run(f"journalctl -o cat --no-pager {matches}").stdout.splitlines()

    # Log

    def lines(self, *, after: int = 0) -> list[Line]:
        """Return the lines of the log behind the first `after`; all of them must be whole."""
        # Before the first start there is no log, and no directory for it.
        text = self.vm.run(f"tail -n +{after + 1} {LOG_FILE} 2>/dev/null || true").stdout
        return [json.loads(line) for line in text.splitlines()]

    def count_lines(self) -> int:
        """Return how many lines the log has: `after` for what comes next."""
        return int(self.vm.run(f"cat {LOG_FILE} 2>/dev/null | wc -l").stdout)

    def failures(self, address: str) -> list[Line]:
        """Return what the log tells of connects to an address: nothing but failures."""
        found = self.vm.run(["grep", "-F", f'"daddr":"{address}"', LOG_FILE], check=False).stdout
        lines = [json.loads(line) for line in found.splitlines()]
        assert {line["message"] for line in lines} <= {"connect failed"}
        return lines

    def wait_for_failures(self, address: str, count: int, timeout: float = 120.0) -> list[Line]:
        """Return the failures once there are `count`, or when time is up."""
        # Counted inside, as they are found inside: all of the log takes seconds to transfer.
        are_there = f"""[ $(grep -cF '"daddr":"{address}"' {LOG_FILE}) -ge {count} ]"""
        waiting = ["timeout", str(timeout), "bash", "-c", f"until {are_there}; do sleep 0.3; done"]
        self.vm.run(waiting, check=False, timeout=timeout + 60)
        return self.failures(address)

    def wait_for_lines(self, message: str, *, after: int, timeout: float = 120.0) -> list[Line]:
        """Return the lines behind the first `after` once one of them begins with `message`."""
        until = time.monotonic() + timeout
        while True:
            found = self.lines(after=after)
            if any(line["message"].startswith(message) for line in found):
                return found
            assert time.monotonic() < until, f"no line {message!r} within {timeout:.0f} s: {found}"
            time.sleep(0.2)

    # Load

    def connects(self, name: str, address: str, port: int, *options: str, uid: int = 0) -> Made:
        """Let a program called `name` connect; return when it is done."""
        done = self.vm.run(self._command(name, address, port, *options, uid=uid))
        return Made(**json.loads(done.stdout))

    def start_connects(
        self, name: str, address: str, port: int, *options: str, uid: int = 0
    ) -> str:
        """Do the same in the background; `wait` takes what is returned."""
        result = f"/run/connects.{name}.{port}"
        line = shlex.join(self._command(name, address, port, *options, uid=uid))
        self.vm.run(
            f"rm -f {result}; ({line} > {result}.part 2>&1; mv {result}.part {result}) "
            ">/dev/null 2>&1 </dev/null &"
        )
        return result

    def wait(self, result: str, timeout: float = 120.0) -> Made:
        """Wait for a program in the background."""
        return Made(**json.loads(self.vm.wait_until(f"cat {result}", timeout).stdout))

    @staticmethod
    def _command(name: str, address: str, port: int, *options: str, uid: int) -> list[str]:
        script = ["/usr/bin/python3", f"{CHECKOUT}/tests/vm/connects.py"]
        return [
            *("setpriv", f"--reuid={uid}", "--clear-groups"),
            *script,
            *(name, address, str(port), *options),
        ]
