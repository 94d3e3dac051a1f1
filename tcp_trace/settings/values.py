"""Values of variables: types, and the parsers from text to them.

A parser raises `ValueError` with a clause that completes "NAME=value: ...", and says what to
write instead.
"""

from __future__ import annotations

import re
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tcp_trace.notify.receivers import DEFAULT_TYPE, RECEIVERS
from tcp_trace.notify.receivers.addresses import is_loopback
from tcp_trace.safetext import brief, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Secret:
    """A text that no output may show: it prints as `<secret>`, however it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the code that posts to it."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class Events(Enum):
    """Records that the kernel program submits."""

    FAILURES = "failures"
    ATTEMPTS = "attempts"
    ALL = "all"


class Hook(Enum):
    """The hook that the kernel program is attached to."""

    AUTO = "auto"
    KPROBE = "kprobe"
    TRACEPOINT = "tracepoint"


class LostRaces(Enum):
    """How to treat an attempt that lost a race (Happy Eyeballs) to another of its process."""

    IGNORE = "ignore"
    ALERT = "alert"


class LogFormat(Enum):
    """How a log line is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(Enum):
    """The least important level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AlertAfter(NamedTuple):
    """So many `failures` within `window` seconds; None for what `auto` means."""

    failures: int | None
    window: float


EnumT = TypeVar("EnumT", bound=Enum)

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)")
# An id has a digit, which a name in capitals has not.
_ID = r"(?=[A-Z]*[0-9])[A-Z0-9]{2,20}"
_MENTION = re.compile(rf"(?:@|<!)?(channel|here)>?|(?:<!subteam\^)?(S{_ID})>?|(?:<@)?([UW]{_ID})>?")
MENTIONS_MAX = 20
"""The most mentions: more would leave no room for the message."""

HOST_NAME_LIMIT = 255
METRICS_DESTINATIONS_MAX = 1_000
"""Characters of HOST_NAME."""

# ZERO WIDTH NON-JOINER, ZERO WIDTH JOINER.
_JOINERS = dict.fromkeys((0x200C, 0x200D))
_LONGEST = 365 * 86400.0
_DEFAULT_WINDOW = 60.0
DIGEST_HOUR = 9
"""The hour (UTC) of DIGEST=daily."""


def choice(kind: type[EnumT]) -> Callable[[str], EnumT]:
    """Return a parser of one of the values of `kind`, in upper or lower case."""

    def parse(text: str) -> EnumT:
        try:
            return kind(text.lower())
        except ValueError:
            allowed = ", ".join(str(member.value) for member in kind)
            raise ValueError(f"not one of the choices; write one of {allowed}") from None

    return parse


def duration(text: str) -> float:
    """Return seconds; between 1 second and 365 days."""
    match = _DURATION.fullmatch(text.lower())
    if match is None:
        raise ValueError("not a duration; write it like 30s, 5m or 4h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not 1.0 <= seconds <= _LONGEST:
        raise ValueError("out of range; write a duration from 1s to 365d")
    return seconds


def switch(text: str) -> bool:
    """Return whether something is on."""
    if text.lower() not in {"on", "off"}:
        raise ValueError("not on or off; write one of them")
    return text.lower() == "on"


def alert_after(text: str) -> AlertAfter:
    """Return the threshold `3/60s` (three failures within a minute) or `3` (the same), or auto."""
    if text.lower() == "auto":
        return AlertAfter(None, _DEFAULT_WINDOW)
    count, slash, window = (part.strip() for part in text.partition("/"))
    if not re.fullmatch(r"[0-9]{1,6}", count) or int(count) == 0:
        raise ValueError("not a number of failures; write auto, or like 1 or 3/60s")
    return AlertAfter(int(count), duration(window) if slash else _DEFAULT_WINDOW)


def alert_down(text: str) -> AlertAfter:
    """Return how many failures in a row are down, and how long after the first: `3/10s`."""
    count, slash, after = (part.strip() for part in text.partition("/"))
    if not re.fullmatch(r"[0-9]{1,4}", count) or int(count) == 0 or not slash:
        raise ValueError("not a number of failures and a time; write it like 3/10s")
    return AlertAfter(int(count), duration(after))


def digest(text: str) -> int | None:
    """Return the hour of the day (UTC) of the daily digest, None for no digest."""
    if text.lower() in {"off", "daily"}:
        return None if text.lower() == "off" else DIGEST_HOUR
    hour = int(text) if re.fullmatch(r"[0-9]{1,2}", text) else -1
    if not 0 <= hour <= 23:
        raise ValueError("not an hour; write daily, off, or an hour from 0 to 23 (UTC)")
    return hour


def ring_mb(text: str) -> int:
    """Return the MiB of the ring between kernel and service, a power of two.

    A record takes 160 bytes: in 4 MiB fit the 20,000 failures of a second that nobody reads.
    """
    size = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0
    if not 1 <= size <= 256 or size & (size - 1):
        raise ValueError("not a power of two from 1 to 256; write for example 16")
    return size


def user_name(text: str) -> str:
    """Return the name of a user; whether it exists is for `tcp-trace check` to say."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}\$?", text):
        raise ValueError("not the name of a user; write for example tcp-trace")
    return text


def host_name(text: str) -> str:
    """Return a name of this host for people: any visible text of up to 255 characters.

    The joiners are taken: emoji and several scripts are written with them.
    """
    without = text.translate(_JOINERS)
    if len(text) > HOST_NAME_LIMIT or not without.isprintable():
        raise ValueError(
            f"not a printable name of at most {HOST_NAME_LIMIT} characters; write for example db-1"
        )
    if not any(visible(each) == each != " " for each in without):
        raise ValueError("a name of which nothing is seen; write for example db-1")
    return text


def mention(text: str) -> str:
    """Return Slack's markup for mentions: `@channel`, `@here`, ids of user groups or users.

    Names of users and groups cannot be mentioned by a webhook: Slack wants their ids.
    """
    parts = re.split(r"[,\s]+", text.strip())
    found = [(_MENTION.fullmatch(part), part) for part in parts]
    for match, part in found:
        if match is None:
            shown = brief(part)
            raise ValueError(
                f"{shown} cannot be mentioned; write @channel, @here, or Slack's id of a user"
                " group (S0123ABCD) or a user (U0123ABCD)"
            )
    if len(found) > MENTIONS_MAX:
        raise ValueError(f"{len(found)} are too many; write a user group, {MENTIONS_MAX} at most")
    return " ".join(_markup(match) for match, _ in found if match)


def _markup(match: re.Match[str]) -> str:
    everybody, group, user = match[1], match[2], match[3]
    if everybody:
        return f"<!{everybody}>"
    return f"<!subteam^{group}>" if group else f"<@{user}>"


def absolute_path(text: str) -> Path:
    """Return a path that means the same wherever the service is started."""
    path = Path(text)
    if not path.is_absolute() or not text.isprintable():
        raise ValueError("not an absolute path; write one that begins with /")
    return path


def slack_url(text: str) -> Secret:
    """Return the URL of a webhook of Slack's kind; no error shows any part of it."""
    return Secret(RECEIVERS[DEFAULT_TYPE].address(text))


def public_secret(path: Path) -> str | None:
    """Return a warning where every user can read a file that holds a webhook, else None."""
    try:
        public = path.stat().st_mode & 0o007
    except OSError:
        return None  # the reader of the file reports that
    if not public:
        return None
    return f"{path} holds the webhook and every user can read it: chmod o= {path}"


class Address(NamedTuple):
    """An address and port to listen at."""

    host: str
    port: int


def metrics(text: str) -> Address:
    """Return the address of loopback and the port to listen at for Prometheus."""
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if not host or not port or url.netloc != text:
        raise ValueError("not an address and a port; write 127.0.0.1:9410")
    if not is_loopback(host):
        raise ValueError("others could read it there; write 127.0.0.1:9410 or [::1]:9410")
    if find_spec("prometheus_client") is None:
        raise ValueError("needs a library; install the package python3-prometheus-client")
    return Address(host, port)


def metrics_destinations(text: str) -> int:
    """Return the number of destinations with metrics of their own."""
    number = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else -1
    if not 0 <= number <= METRICS_DESTINATIONS_MAX:
        raise ValueError(
            f"not a number from 0 to {METRICS_DESTINATIONS_MAX:,}; write for example 20"
        )
    return number


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return the end of an error about an unknown name: the most similar one, or all known."""
    import difflib  # noqa: PLC0415 - only for a mistake

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
