"""Every kind of webhook that is in the registry keeps its promises; none is named here."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import testalert
from tcp_trace.incidents.notification import Phase, SubjectCount
from tcp_trace.notify.answers import Answer
from tcp_trace.notify.channel import Rejected, Retry, Sent
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.receivers import DEFAULT_TYPE, RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.settings import config
from tcp_trace.settings.routes import load
from tests.unit.notify.golden import DATABASE, HOST, SAMPLES, STORM_IN_PODS
from tests.unit.notify.samples import Address
from tests.webhook import Webhook

if TYPE_CHECKING:
    from tcp_trace.notify.receivers.receiver import Receiver

ROOT = Path(__file__).parents[4]
MIX = 987_654_321
IN_A_POD = DATABASE._replace(netns=4_026_532_281, netns_mix=MIX)
WALL = 1_700_000_000.0
SECRET = "T0SECRET"

each = pytest.mark.parametrize("receiver", RECEIVERS.values(), ids=list(RECEIVERS))


def test_the_default_is_one_of_them() -> None:
    """SLACK_URL and a webhook without a type are of a known kind."""
    assert DEFAULT_TYPE in RECEIVERS


@each
@pytest.mark.parametrize("name", SAMPLES)
def test_every_message_is_rendered(receiver: Receiver, name: str) -> None:
    """As JSON, with the incident's id and this host in it, and the same when it is sent again.

    The digest of a day is no alert.
    """
    notification, delayed_by = SAMPLES[name]
    render = receiver.renderer()
    payload = json.loads(json.dumps(render(notification, Envelope(HOST, delayed_by))))
    if payload or notification.kind is not Phase.DAILY:
        assert notification.incident in json.dumps(payload)
        assert HOST in json.dumps(payload)
    assert json.loads(json.dumps(render(notification, Envelope(HOST, delayed_by)))) == payload


@each
def test_what_seeds_a_namespace_stays_on_the_host(receiver: Receiver) -> None:
    """`netns_mix`, by which hash tables could be attacked, is in no body."""
    top = (SubjectCount(IN_A_POD, 3, None), *STORM_IN_PODS.top)
    for notification in (
        replace(SAMPLES["opened"][0], subject=IN_A_POD),
        replace(STORM_IN_PODS, top=top),
    ):
        payload = json.dumps(receiver.renderer()(notification, Envelope(HOST)))
        assert "netns_mix" not in payload
        assert str(MIX) not in payload


@each
def test_only_who_forgets_is_sent_a_list(receiver: Receiver) -> None:
    """What stands is sent again many at a time, which only lists can be."""
    payload = receiver.renderer()(SAMPLES["opened"][0], Envelope(HOST))
    assert isinstance(payload, list) or not receiver.FORGETS


@each
def test_statuses_that_mean_the_same_to_all(receiver: Receiver) -> None:
    """An `ok` is success, an overload is worth another try, a redirect and a 404 need a person."""
    assert receiver.judge(Answer(200, b"ok", None), WALL) == Sent()
    assert receiver.judge(Answer(204, b"", None), WALL) == Sent()
    assert receiver.judge(Answer(429, b"", "30"), WALL) == Retry(30.0, "status 429")
    assert receiver.judge(Answer(503, b"", None), WALL) == Retry(None, "status 503")
    for status in (302, 401, 404):
        fate = receiver.judge(Answer(status, b"", None), WALL)
        assert isinstance(fate, Rejected)
        assert fate.dead
    fate = receiver.judge(Answer(400, b"", None), WALL)
    assert isinstance(fate, Rejected)
    assert not fate.dead


@each
@pytest.mark.parametrize(
    "text",
    ["", SECRET, f"ftp://x/{SECRET}", f"https:///{SECRET}", f"https://[{SECRET}", "https://"],
)
def test_what_is_no_url_is_refused_and_not_shown(receiver: Receiver, text: str) -> None:
    """The error says how to write it, and holds nothing of what was written."""
    with pytest.raises(ValueError, match=r"^not a URL; write https?://") as error:
        receiver.address(text)
    assert SECRET not in str(error.value)


@each
def test_a_password_is_not_sent_in_clear_text(receiver: Receiver) -> None:
    """Whatever the kind: only to this host itself."""
    with pytest.raises(ValueError, match="clear text"):
        receiver.address(f"http://me:{SECRET}@example.org/x")
    assert receiver.address("http://127.0.0.1:1/x").startswith("http://127.0.0.1:1/x")


@each
def test_an_address_is_its_own(receiver: Receiver) -> None:
    """What was made of an address, as is kept in the settings, is left as it is."""
    address = receiver.address("https://example.org:9093/x")
    assert receiver.address(address) == address


@each
def test_a_test_message_is_posted_and_taken(receiver: Receiver) -> None:
    """Over HTTP; it says which host it is from."""
    with Webhook() as webhook:
        channel = HttpChannel(Address(receiver.address(webhook.url)), receiver.judge)
        assert channel.send(receiver.test_message(HOST, time.time())) == Sent()
        (received,) = webhook.received
    assert HOST in received.body.decode()
    assert receiver.DELIVERED.startswith("delivered: ")


@each
def test_a_type_in_the_file_of_routes(receiver: Receiver, tmp_path: Path) -> None:
    """By its name; and test-alert sends to what such a file names."""
    path = tmp_path / "routes.toml"
    with Webhook() as webhook:
        path.write_text(
            f'[webhook.x]\ntype = "{receiver.NAME}"\nurl = "{webhook.url}"\n[[route]]\nto = "x"\n'
        )
        routes = load(path, None)
        assert routes.errors == ()
        environ = {"ROUTES_FILE": str(path), "HOST_NAME": HOST, "STATE_DIR": str(tmp_path)}
        assert testalert.send(config.load(environ, None)) == receiver.DELIVERED
        assert len(webhook.received) == 1


@each
def test_the_pages_name_it(receiver: Receiver) -> None:
    """With a section of its own, and where the types are listed for who writes the file."""
    assert f"\n## `{receiver.NAME}`\n" in (ROOT / "docs/WEBHOOK.md").read_text()
    assert f"#   {receiver.NAME} " in (ROOT / "systemd/routes.toml.example").read_text()
