"""The secrets are searched for wherever anything is written, through every fault there is."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import reach, testalert
from tcp_trace.log import logs
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.pacing import Pacing
from tcp_trace.service.messages import Messages
from tcp_trace.settings import config
from tests.captured import Captured
from tests.unit.notify.golden import OPENED
from tests.unit.service.test_messages import NOTHING
from tests.unit.service.test_metrics import FIGURES, scrape
from tests.webhook import SECRET, Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.settings.config import Settings
    from tests.figures import Figures

PASSWORD = "fleetSECRETpassword"
NEEDLES = ("SECRET", "services/T0")
FAST = Pacing(rate=1_000.0, burst=10, first_backoff=0.01, longest_backoff=0.02, dead_pause=0.02)
FAULTS = [
    *(Reply(behaviour=behaviour) for behaviour in Behaviour),
    *(Reply(status, f"{SECRET} {PASSWORD}".encode()) for status in (200, 302, 400, 404, 429, 500)),
    Reply(302, b"", {"Location": f"http://127.0.0.1:1{SECRET}"}),
    Reply(404, b"no_service"),
]


@pytest.fixture
def quiet_root() -> Iterator[None]:
    """Give logging back as it was."""
    root = logging.getLogger()
    before, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    yield
    root.handlers, root.level = before, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


def settings(folder: Path, webhook: Webhook, log_format: str) -> Settings:
    """Return settings in which every way to give a secret is used."""
    routes, secret = folder / "routes.toml", folder / "secret"
    for path in (routes, secret):
        path.touch(0o600)
    secret.write_text(f"{webhook.url}/json")
    routes.write_text(
        f"""
        [webhook.json]
        type = "json"
        url_file = "{secret}"
        [webhook.fleet]
        type = "alertmanager"
        url = "http://fleet:{PASSWORD}@127.0.0.1:{webhook.port}"
        [[route]]
        to = ["default", "json", "fleet"]
        """
    )
    environ = {
        "SLACK_URL": webhook.url,
        "ROUTES_FILE": str(routes),
        "STATE_DIR": str(folder / "state"),
        "LOG_FORMAT": log_format,
        "LOG_LEVEL": "debug",
    }
    return config.load(environ, None)


def go_through(given: Settings, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Go through every fault, and return what is shown besides the log."""
    defaults = HttpChannel.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "deadline", 0.3)
    messages = Messages(given, FAST)
    messages.start()
    for number in range(10):
        messages.commit([OPENED, OPENED, OPENED], NOTHING)
        time.sleep(0.05 * (number < 3))
    until = time.monotonic() + 30
    while webhook.script and time.monotonic() < until:
        time.sleep(0.02)
    statistics = {name: asdict(each) for name, each in messages.statistics.items()}
    shown = [repr(messages.statistics), json.dumps(statistics), repr(given), str(vars(messages))]
    shown += [repr(finding) for finding in reach.webhooks(given)]
    figures = FIGURES._replace(
        webhooks=messages.statistics, pending=messages.pending, drops=messages.outbox.drops
    )
    shown.append(repr(scrape(figures)))
    try:
        shown.append(testalert.send(given))
    except testalert.NotDelivered as error:
        shown.append(str(error))
    messages.stop(1.0)
    return shown


def raise_with_secrets(given: Settings) -> None:
    """Let exceptions, warnings and threads end with a secret in their texts."""
    urls = [secret.reveal() for secret in given.secrets]
    for url in urls:
        try:
            raise ValueError(f"{url} does not work") from KeyError(url)  # noqa: TRY301
        except ValueError as error:
            logging.getLogger("tcp_trace").exception("an exception")
            sys.excepthook(type(error), error, error.__traceback__)
        logging.getLogger("urllib3.connectionpool").error("POST %s", url)
        logging.getLogger("another.library").warning("%s", {"url": url, "bytes": url.encode()})

    def fail() -> None:
        raise RuntimeError(urls)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_is_shown_anywhere(
    tmp_path: Path,
    log_format: str,
    monkeypatch: pytest.MonkeyPatch,
    figure: Figures,
    quiet_root: None,  # noqa: ARG001 - it tidies up
) -> None:
    """Log lines, tracebacks, messages, metrics, findings, database, files: nowhere."""
    with Webhook(FAULTS) as webhook:
        given = settings(tmp_path, webhook, log_format)
        assert [secret.reveal() for secret in given.secrets][1].endswith("/json")
        stream = Captured()
        logs.setup(given, None, stream)
        shown = go_through(given, webhook, monkeypatch)
        assert not webhook.script
        raise_with_secrets(given)
        sent = [request.body.decode() for request in webhook.received]
    written = stream.getvalue()
    assert written.count("<secret>") > 10
    files = [path.read_bytes() for path in (tmp_path / "state").iterdir()]
    everything = [written, *shown, *sent, *(data.decode("latin-1") for data in files)]
    hits = [text for text in everything for needle in NEEDLES if needle in text]
    assert hits == []
    figure(
        f"three secrets, {len(FAULTS)} faults at the webhook, exceptions with the secrets in them"
        f" ({log_format} log)",
        "nothing: no secret is ever shown",
        f"{len(written.splitlines())} log lines, {len(sent)} messages, {len(shown)} other outputs,"
        f" {len(files)} files of the state: {len(hits)} hits",
    )
