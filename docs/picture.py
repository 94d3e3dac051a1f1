"""Make docs/slack-message.png: the real payloads of two messages, drawn as Slack draws them.

    python3 -m docs.picture

Needs Debian's packages chromium, pngquant, fonts-lato and fonts-noto-color-emoji; no test does.
A web server's database refuses connects for six minutes, and takes them again. Slack's payload of
each message becomes HTML, and a headless browser takes its picture. Look at it before
you commit it.
"""

from __future__ import annotations

import hashlib
import html
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.notification import (
    Background,
    CauseCount,
    Notification,
    Phase,
    ProcessCount,
    Severity,
    State,
)
from tcp_trace.notify.receivers.slack import slack_payload

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = Path(__file__).with_name("slack-message.png")
HOST = "web-1.example.com"
DATABASE = Destination("10.0.12.7", 5432)

_BEGIN = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC).timestamp()
_BROKEN_SECONDS = 372.0
_WIDTH, _SCALE = 584, 1.5

_ECONNREFUSED = 111


class Message(NamedTuple):
    """What was posted, and when (seconds since the epoch)."""

    wall: float
    payload: dict[str, Any]


def messages() -> list[Message]:
    """Return what Slack gets of the story: one message when it begins, one when it is over."""
    maker = ProcessCount(
        "gunicorn", 4711, 33, 78, several=True, failures=38, user="www-data", unit="shop.service"
    )
    opened = Notification(
        id="zfbm7enu-1", incident="zfbm7enu", kind=Phase.OPENED, severity=Severity.CRITICAL,
        opening=True, subject=DATABASE, failures=38, total=38,
        at=_BEGIN + 10.5, since=_BEGIN, first=_BEGIN, last=_BEGIN + 10.3, duration=10.3,
        causes=_refused(38), processes=(maker,), unlisted=0, established=0,
        hosts=("db.example.com",), state=State.DOWN, escalated=True,
        background=Background(worked=_BEGIN - 3, latency=0.0008),
    )  # fmt: skip
    resolved = replace(
        opened, id="zfbm7enu-2", kind=Phase.RESOLVED, opening=False, failures=1_331, total=1_369,
        at=_BEGIN + _BROKEN_SECONDS + 121, since=opened.at, last=_BEGIN + _BROKEN_SECONDS,
        duration=_BROKEN_SECONDS, causes=_refused(1_369),
        processes=(maker._replace(failures=1_369),), escalated=False,
    )  # fmt: skip
    return [Message(one.at, slack_payload(one, HOST)) for one in (opened, resolved)]


def _refused(failures: int) -> tuple[CauseCount]:
    return (CauseCount(Reason.REFUSED, failures, Evidence(_ECONNREFUSED, 0.00042, 1)),)


def page(posted: list[Message]) -> str:
    """Return the HTML page that shows the messages in a channel."""
    shown = "\n".join(_message(one) for one in posted)
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><main>{shown}</main>"


def _message(posted: Message) -> str:
    at = datetime.fromtimestamp(posted.wall, UTC)
    blocks = "".join(_block(block) for block in posted.payload["blocks"])
    return (
        '<article><div class="icon">tt</div><div class="body">'
        f'<div class="by"><b>tcp-trace</b><i>APP</i><span>{at:%H:%M}</span></div>'
        f"{blocks}</div></article>"
    )


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "header":
        return f"<h3>{html.escape(block['text']['text'])}</h3>"
    if block["type"] == "context":
        return "".join(f"<small>{_mrkdwn(one['text'])}</small>" for one in block["elements"])
    fields = "".join(f"<p>{_mrkdwn(one['text'])}</p>" for one in block.get("fields", ()))
    text = f"<p>{_mrkdwn(block['text']['text'])}</p>" if "text" in block else ""
    return f"{text}<div class=fields>{fields}</div>" if fields else text


def _mrkdwn(text: str) -> str:
    """Return Slack's markup as HTML; its escapes are those of HTML already."""
    return "".join(_piece(piece) for piece in re.split(r"(`[^`]*`|\*[^*\n]+\*|<[^>]*>|\n)", text))


def _piece(piece: str) -> str:
    if piece == "\n":
        return "<br>"
    if piece.startswith("`"):
        return f"<code>{piece[1:-1]}</code>"
    if piece.startswith("*"):
        return f"<b>{piece[1:-1]}</b>"
    if date := re.fullmatch(r"<!date\^([0-9]+)\^.*>", piece):
        # Slack says it in the reader's own zone and words; a date without the year is both.
        return f"{datetime.fromtimestamp(int(date[1]), UTC):%B %-d at %H:%M:%S}"
    return piece


def _browser() -> Iterator[str]:
    yield from ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic")
    yield from ("--no-first-run", "--disable-background-networking", "--disable-sync")
    yield from ("--disable-component-update", "--hide-scrollbars", "--disable-lcd-text")
    yield f"--force-device-scale-factor={_SCALE}"


def draw(text: str, into: Path) -> None:
    """Take a picture of an HTML page, as high as the page is."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "page.html"
        source.write_text(text)
        common = [*_browser(), f"--user-data-dir={directory / 'profile'}"]
        measured = subprocess.run(
            [*common, f"--window-size={_WIDTH},200", "--dump-dom", _with_its_height(source)],
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        height = re.search(r"<title>(\d+)</title>", measured.stdout)
        if height is None:
            raise SystemExit("the browser does not tell how high the page is")
        subprocess.run(
            [*common, f"--window-size={_WIDTH},{height[1]}", f"--screenshot={into}", str(source)],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    subprocess.run(["pngquant", "--force", "--strip", f"--output={into}", into], check=True)
    into.write_bytes(into.read_bytes() + mark(text))


def mark(text: str) -> bytes:
    """Return what the file ends with: by it a test knows of which page it is the picture."""
    return b"\n" + hashlib.sha256(text.encode()).hexdigest().encode()


def _with_its_height(source: Path) -> str:
    """Return a second page that has its own height for a title."""
    measuring = source.with_name("measuring.html")
    script = "<script>document.title=Math.ceil(document.body.scrollHeight)</script>"
    measuring.write_text(source.read_text() + script)
    return str(measuring)


_STYLE = """
* { margin: 0; box-sizing: border-box }
html { background: #fff }
body { font: 15px/22px Lato, "Noto Sans", "DejaVu Sans", "Noto Color Emoji", sans-serif;
  color: #1d1c1d; height: max-content }
main { padding: 12px 20px 14px }
article { display: flex; gap: 10px; padding: 8px 0 }
article + article { border-top: 1px solid #e8e8e8; margin-top: 6px; padding-top: 14px }
.icon { flex: none; width: 36px; height: 36px; border-radius: 6px; background: #3f0e40; color: #fff;
  font: bold 16px/36px "DejaVu Sans Mono", monospace; text-align: center }
.body { flex: 1; min-width: 0 }
.by b { font-weight: 900 }
.by i { font: 10px/14px "DejaVu Sans", sans-serif; background: #e8e8e8; color: #616061;
  padding: 1px 3px; border-radius: 2px; margin: 0 8px 0 4px }
.by span { font-size: 12px; color: #616061 }
h3 { font-size: 18px; line-height: 24px; margin: 4px 0 8px }
p { margin-bottom: 8px; overflow-wrap: anywhere }
.fields { display: grid; grid-template-columns: 1fr 1fr; column-gap: 16px }
code { font: 12px/18px "DejaVu Sans Mono", monospace; color: #c01343; background: #f6f6f6;
  border: 1px solid #ddd; border-radius: 3px; padding: 2px 3px 1px }
small { display: block; font-size: 12px; line-height: 18px; color: #616061 }
"""


if __name__ == "__main__":
    draw(page(messages()), PICTURE)
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes\n")
