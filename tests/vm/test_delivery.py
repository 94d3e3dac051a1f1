"""Messages when Slack is away, and what must never be in one or beside it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED, ENV_FILE, LOG_FILE, STATE, Receiver
from tests.webhook import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Line, Peer, Service

_NOBODY_LISTENS = 9
_NEEDLES = "/run/needles"


@pytest.fixture
def slack(receiver: Receiver) -> Iterator[Receiver]:
    """Let a test spoil the webhook, and mend it afterwards."""
    yield receiver
    receiver.answer("200")
    receiver.vm.run("systemctl restart webhook")


def test_a_message_outlives_slack_and_the_service(
    service: Service, slack: Receiver, peer: Peer
) -> None:
    """What could not be sent before the service was stopped is sent once both are back."""
    address = peer.address()
    service.use(DEST_IP=address)
    slack.stop()
    before = service.count_lines()
    service.connects("orphan", address, CLOSED, "--times", "23")
    service.wait_for_failures(address, 23)
    service.wait_for_lines("notification not sent yet", after=before)
    service.systemctl("stop")
    assert service.show("Result") == "success"
    slack.start()
    assert slack.messages(address) == []
    service.systemctl("start")
    text = slack.wait_for(address)[0]["payload"]["text"]
    assert f"{address}:{CLOSED}" in text
    assert "orphan" in text
    assert len(service.failures(address)) == 23


def test_the_log_goes_on_while_the_webhook_hangs(
    service: Service, slack: Receiver, peer: Peer
) -> None:
    """A webhook that takes the message and says nothing holds up no line."""
    address = peer.address()
    service.use(DEST_IP=address)
    slack.answer("hang")
    before = service.count_lines()
    service.connects("first", address, CLOSED)
    slack.wait_for(address)
    service.connects("later", address, CLOSED, "--times", "23")
    lines = service.wait_for_failures(address, 24)
    assert [line["comm"] for line in lines] == ["first"] + ["later"] * 23
    # The sender waits 20 s for its answer.
    assert max(_written(line) - line["at"] for line in lines) < 10
    told = [line["message"] for line in service.lines(after=before)]
    assert told.count("connect failed") == 24
    assert "notification sent" not in told


def _written(line: Line) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def test_own_connects_are_not_reported(service: Service, peer: Peer) -> None:
    """That the webhook refuses is no 'connect failed'; another program's connect there is one."""
    address = peer.address()
    service.use(SLACK_URL=Receiver.URL.replace("8065", str(_NOBODY_LISTENS)), DEST_IP="")
    before = service.count_lines()
    service.connects("trigger", address, CLOSED)
    service.vm.wait_until(
        f"[ $(tail -n +{before + 1} {LOG_FILE} | grep -c 'notification not sent yet') -ge 3 ]"
    )
    service.connects("other", "127.0.0.1", _NOBODY_LISTENS)
    lines = service.wait_for_failures("127.0.0.1", 1)
    there = [line["comm"] for line in lines if line["dport"] == _NOBODY_LISTENS]
    assert there == ["other"]


def test_the_secret_is_nowhere(vm: Machine, service: Service, slack: Receiver, peer: Peer) -> None:
    """After success, refusal, 404 and reloads, no log, journal, state or process shows it."""
    _let_everything_happen(service, slack, peer)
    service.systemctl("status")
    places = {
        "log": "cat /var/log/tcp-trace/*",
        "journal": "journalctl --no-pager -o export",
        "systemd": "systemctl show tcp-trace; systemctl status --no-pager tcp-trace",
        "processes": "ps axwwe",
        "state": f"find {STATE} /tmp /run/systemd /var/lib/systemd -type f -print0 | xargs -0 cat",
        "names": f"find {STATE} /var/log /tmp",
        "environment": "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID tcp-trace)/environ",
        "check": "tcp-trace check; tcp-trace check --json",
    }
    # In a file: on a command line, ps would show what is looked for.
    tokens = [SECRET, *(part for part in SECRET.split("/") if "SECRET" in part)]
    vm.run(f"cat > {_NEEDLES}", input="\n".join(tokens))
    grep = f"grep -acFf {_NEEDLES}"
    found = {
        place: vm.run(f"({command}) 2>&1 | {grep}", check=False).stdout.strip()
        for place, command in places.items()
    }
    assert found == dict.fromkeys(places, "0")
    # It finds what is there: in the configuration, and in what the webhook was asked for.
    assert vm.run(f"cat {ENV_FILE} | {grep}").stdout == "1\n"
    assert int(vm.run(f"cat {Receiver.RECORD} | {grep}").stdout) >= 3


def _let_everything_happen(service: Service, slack: Receiver, peer: Peer) -> None:
    address, second, third = peer.address(), peer.address(), peer.address()
    service.use(DEST_IP="192.0.2.0/24", LOG_LEVEL="debug")
    service.connects("told", address, CLOSED)
    slack.wait_for(address)
    slack.stop()
    before = service.count_lines()
    service.connects("refused", second, CLOSED)
    service.wait_for_lines("notification not sent yet", after=before)
    slack.answer("404")
    slack.start()
    service.connects("dead", third, CLOSED)
    service.wait_for_lines("the webhook takes no messages", after=before)
    service.configure(SLACK_URL=f"{Receiver.URL}/ {SECRET}", ALERT_AFTER=SECRET)
    service.reload("not reloaded")
    service.use(LOG_LEVEL="debug")
