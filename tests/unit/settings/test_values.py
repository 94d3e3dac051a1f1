"""How single values are read: durations, thresholds, switches, mentions."""

from __future__ import annotations

import pytest

from tcp_trace.settings import values
from tcp_trace.settings.config import (
    AlertAfter,
)
from tests.unit.settings.loading import errors, load


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("4H", 14400), ("2d", 172800), ("1.5m", 90),
                          ("45", 45), ("2000ms", 2)]
)  # fmt: skip
def test_duration(text: str, seconds: float) -> None:
    """A duration is a number of seconds or has a unit."""
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["5x", "", "-5s", "1e3", "inf", "nan", "5 m", "m", "٣s"])
def test_no_duration(text: str) -> None:
    """Whatever Python would take for a number but people would not is refused."""
    with pytest.raises(ValueError, match="not a duration"):
        values.duration(text)


@pytest.mark.parametrize("text", ["0", "999ms", "366d", "9" * 400])
def test_duration_out_of_range(text: str) -> None:
    """A duration that would flood people or never end is refused."""
    with pytest.raises(ValueError, match="out of range"):
        values.duration(text)


def test_threshold() -> None:
    """A threshold is a number of failures, with a window or within a minute."""
    assert values.alert_after("3/2m") == AlertAfter(3, 120.0)
    assert values.alert_after("5") == AlertAfter(5, 60.0)
    for text in ("0", "-1", "x/60s", "3/", "3/x", "1.5"):
        with pytest.raises(ValueError, match="not a"):
            values.alert_after(text)


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("@channel", "<!channel>"),
        ("here", "<!here>"),
        ("<!here>", "<!here>"),
        ("S0123ABCD", "<!subteam^S0123ABCD>"),
        ("<!subteam^S123>, U123 @here", "<!subteam^S123> <@U123> <!here>"),
        ("<@W0123ABCD>", "<@W0123ABCD>"),
    ],
)
def test_mentions(text: str, markup: str) -> None:
    """Who is to be woken is turned into what Slack understands."""
    assert load(ALERT_MENTION=text).alert_mention == markup


@pytest.mark.parametrize("text", ["@bob", "#ops", "SUPPORT", "<!channel|x>", "u0123abcd", "@@here"])
def test_mentions_that_cannot_be(text: str) -> None:
    """A name that Slack would not mention is refused with what to write."""
    (error,) = errors(ALERT_MENTION=text)
    assert error == (
        f"ALERT_MENTION={text}: {text} cannot be mentioned; write @channel, @here, or Slack's id of"
        " a user group (S0123ABCD) or a user (U0123ABCD)"
    )


def test_switch() -> None:
    """A switch is on or off, and nothing else."""
    assert load().dns_names is True
    assert load(DNS_NAMES="OFF").dns_names is False
    assert "DNS_NAMES=no: not on or off" in errors(DNS_NAMES="no")[0]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("20", 20), ("1000", 1000)])
def test_destinations_of_the_metrics(text: str, number: int) -> None:
    """A number, none by default."""
    assert load(METRICS_DESTINATIONS=text).metrics_destinations == number
    assert load().metrics_destinations == 0


@pytest.mark.parametrize("text", ["1001", "-1", "1.5", "all", "\u0661"])
def test_destinations_of_the_metrics_that_cannot_be(text: str) -> None:
    """The error says what to write."""
    (told,) = errors(METRICS_DESTINATIONS=text)
    assert told.endswith("not a number from 0 to 1,000; write for example 20")
