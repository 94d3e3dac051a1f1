"""The webhook: where it may be set, and that no error shows it."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import pytest

from tcp_trace.settings import values, variables
from tcp_trace.settings.config import (
    Secret,
)
from tests.unit.settings.loading import OTHER_URL, URL, errors, load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    [
        URL,
        "https://chat.example.com:8443/hooks/abc",
        "http://127.0.0.1:8000/x",
        "http://[::1]:8000/x",
        "http://localhost/x",
    ],
)
def test_webhook(text: str) -> None:
    """HTTPS is taken everywhere, HTTP on loopback."""
    assert values.slack_url(text).reveal() == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hooks.slack.com/services/T0/B0/sesame", "not a URL"),
        ("https:///services/T0/B0/sesame", "not a URL"),
        ("https://[::1/sesame", "not a URL"),
        ("https://hooks.slack.com:port/sesame", "not a URL"),
        ("https://hooks.slack.com/ sesame", "not a URL"),
        ("https://hooks.slack.com/\x1bsesame", "not a URL"),
        ("ftp://hooks.slack.com/sesame", "not a URL"),
        ("http://hooks.slack.com/sesame", "clear text"),
        ("http://127.0.0.1.example.com/sesame", "clear text"),
        ("https://hooks.slack.com/sesame/...", "still the example"),
    ],
)
def test_wrong_webhook_is_refused_and_not_shown(text: str, why: str) -> None:
    """The error names the variable and what to write, and no part of the secret."""
    (told,) = errors(SLACK_URL=text)
    assert told.startswith("SLACK_URL: ")
    assert why in told
    assert "sesame" not in told


def test_pasted_secret_as_a_name_is_not_shown(env_file: Path) -> None:
    """A webhook pasted where a name belongs stays out of the error."""
    env_file.write_text(f"{URL}=1\n{URL}\n")
    assert "cccc" not in "".join(errors(env_file))


@pytest.mark.parametrize(
    "name", [each.name for each in variables.VARIABLES if each.name != "SLACK_URL"]
)
def test_webhook_in_the_wrong_variable_is_not_shown(name: str) -> None:
    """HOOK and SLACK_URL_FILE sound as if they took it: the error names them, not the value."""
    (told,) = errors(None, **{name: URL})
    assert told.startswith(f"{name}: ")
    assert "cccc" not in told


def test_webhook_without_its_scheme_in_place_of_a_file_is_not_shown() -> None:
    """It is no path either, and no file of that name is looked for."""
    assert errors(SLACK_URL_FILE=URL.removeprefix("https://")) == [
        "SLACK_URL_FILE: not an absolute path; write one that begins with /"
    ]


def test_webhook_from_file(tmp_path: Path) -> None:
    """SLACK_URL_FILE names a file with the webhook; its newline does not matter."""
    path = tmp_path / "slack_url"
    path.touch(0o600)
    path.write_text(URL + "\n")
    settings = load(SLACK_URL_FILE=str(path))
    assert settings.slack_url == Secret(URL)
    assert settings.warnings == ()


def test_webhook_from_credential(tmp_path: Path) -> None:
    """A systemd credential called slack_url is found; without one, none is missed."""
    assert load(CREDENTIALS_DIRECTORY=str(tmp_path)).slack_url is None
    (tmp_path / "slack_url").write_text(URL)
    assert load(CREDENTIALS_DIRECTORY=str(tmp_path)).slack_url == Secret(URL)


def test_precedence_of_webhooks(tmp_path: Path, env_file: Path) -> None:
    """Environment, env file, SLACK_URL_FILE, credential: the first wins, and two are told of."""
    path = tmp_path / "slack_url"
    path.touch(0o600)
    path.write_text(OTHER_URL)
    env_file.write_text(f"SLACK_URL={URL}\n")
    settings = load(env_file, SLACK_URL_FILE=str(path), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert settings.slack_url == Secret(URL)
    (told,) = settings.warnings
    assert told.startswith("the webhook is set by SLACK_URL and by SLACK_URL_FILE and by the cred")
    assert told.endswith("; SLACK_URL is used")
    assert load(env_file, SLACK_URL=OTHER_URL).slack_url == Secret(OTHER_URL)


def test_unusable_webhook_file(tmp_path: Path) -> None:
    """A named file that is absent or empty is an error: the operator meant to be told."""
    assert errors(SLACK_URL_FILE=f"{tmp_path}/x") == [
        f"SLACK_URL_FILE={tmp_path}/x: cannot be read (No such file or directory)"
    ]
    (tmp_path / "x").touch(0o600)
    assert errors(SLACK_URL_FILE=f"{tmp_path}/x") == [
        f"SLACK_URL_FILE={tmp_path}/x: is empty; put the webhook's URL into it"
    ]


def test_public_secret_is_told_of(env_file: Path) -> None:
    """A file that holds the webhook and that everybody can read makes a warning."""
    env_file.write_text(f"SLACK_URL={URL}\n")
    assert load(env_file).warnings == ()
    env_file.chmod(0o644)
    (told,) = load(env_file).warnings
    assert told == (f"{env_file} holds the webhook and every user can read it: chmod o= {env_file}")


def test_secret_shows_itself_to_nobody() -> None:
    """However a secret or the settings are formatted or copied, the secret stays out of it."""
    settings = load(SLACK_URL=URL)
    shown = f"{settings} {settings!r} {settings.slack_url} {settings.slack_url!r:>20}"
    shown += "%s %r" % (settings.slack_url, settings.slack_url)  # noqa: UP031
    shown += str(dataclasses.asdict(settings)) + str(copy.deepcopy(settings))
    assert "cccc" not in shown
    assert "<secret>" in shown
    assert settings.slack_url == Secret(URL) != Secret(OTHER_URL)
