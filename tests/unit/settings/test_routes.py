"""The routes' file: what it may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcp_trace.incidents.notification import Severity
from tcp_trace.notify.routing import Messages, Route
from tcp_trace.settings import config, routes
from tcp_trace.silences.match import parse_places

URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc"
OTHER = "https://chat.example.org/hooks/dddddddddddddddddddddddddd"
EXAMPLE = Path(__file__).parents[3] / "systemd/routes.toml.example"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that only its owner can read."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    return path


def load(path: Path, text: str) -> routes.Routes:
    """Return what the file says with this text."""
    path.write_text(text)
    return routes.load(path, None)


def errors(path: Path, text: str) -> list[str]:
    """Return what is said of it, without the file's name, which every error begins with."""
    told = load(path, text).errors
    assert all(error.startswith(str(path)) for error in told)
    assert "cccc" not in str(told)
    return [error.removeprefix(str(path)).lstrip(",: ") for error in told]


WHOLE = """
[webhook.db]
url = "{url}"
[webhook.log]
type = "json"
url_file = "{secret}"
[webhook.fleet]
type = "alertmanager"
url = "http://alerts.example.org:9093/prefix/"
[[route]]
to = "db"
destinations = ["10.0.0.0/8:5432", "2001:db8::1", "*.Example.com:443", ":6379"]
units = ["a*.service"]
pods = ["6fd9*"]
containers = ["3f2a9c013f2a"]
reasons = ["refused"]
min_severity = "critical"
messages = "incidents"
runbook = "https://wiki.example.org/db?page=1#down"
[[route]]
to = ["fleet", "log", "default"]
"""


def test_a_whole_file(path: Path) -> None:
    """Webhooks of all types, their addresses by value and by file, and routes to them."""
    secret = path.with_name("secret")
    secret.touch(0o600)
    secret.write_text(f"{OTHER}\n")
    found = load(path, WHOLE.format(url=URL, secret=secret))
    assert (found.errors, found.warnings) == ((), ())
    assert [(w.name, w.type, w.url.reveal()) for w in found.webhooks] == [
        ("db", "slack", URL),
        ("log", "json", OTHER),
        ("fleet", "alertmanager", "http://alerts.example.org:9093/prefix/api/v2/alerts"),
    ]
    assert found.routes == (
        Route(
            ("db",),
            parse_places("10.0.0.0/8:5432,2001:db8::1,*.example.com:443,:6379"),
            ("a*.service",),
            frozenset({"refused"}),
            Severity.CRITICAL,
            Messages.INCIDENTS,
            "https://wiki.example.org/db?page=1#down",
            ("6fd9*",),
            ("3f2a9c013f2a",),
        ),
        Route(("fleet", "log", "default")),
    )
    assert "cccc" not in repr(found)


WRONG = """
other = 1
[webhook.default]
url = "https://a.example/x"
[webhook.b]
type = "slak"
adress = "x"
url = "https://b.example/x"
[webhook.c]
[webhook.d]
url = "ftp://d.example/cccc"
[webhook.e]
url = 3
[webhook.f]
url = "http://f.example/cccc"
[webhook.g]
credential = "cccc"
[[route]]
to = ["bb"]
[[route]]
destinations = ["10.0.0.1/8"]
reasons = ["refuse"]
units = [1]
"""


def test_every_error_is_told_at_once_with_its_place(path: Path) -> None:
    """Who corrects the file need not start the service once for each error."""
    told = errors(path, WRONG)
    assert told == [
        "'other' is unknown; known are webhook, route",
        "webhook 'default': the name is taken by SLACK_URL; choose another one",
        "webhook 'b': 'adress' is unknown; known are type, url, url_file, credential",
        "webhook 'b': type: not one of the types; write one of slack, json, alertmanager",
        "webhook 'c': no address; write one of url, url_file and credential",
        "webhook 'd': url: not a URL; write https://hooks.slack.com/services/...",
        "webhook 'e': url: not a text; put it in quotes",
        (
            "webhook 'f': url: http would send the secret in clear text; write https:// (http is"
            " for loopback only)"
        ),
        "webhook 'g': credential: systemd gave none; add LoadCredential= to the unit",
        "route 1: to: no webhook is called 'bb'; did you mean b?",
        'route 2: to: names no webhook; write for example to = ["default"]',
        "route 2: destinations: '10.0.0.1/8': has host bits set; did you mean 10.0.0.0/8?",
        'route 2: units: not a list of texts; write units = ["...", "..."]',
        "route 2: reasons: 'refuse' is no reason; did you mean refused?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("webhook = 3", "webhook: not a table; write [webhook.NAME]"),
        ("route = 3", "route: not a list of tables; write [[route]]"),
        (
            f'[webhook.a]\nurl = "{URL}"\n[webhook.b]\nurl = "{URL}"',
            "webhook b: has the address of webhook a; use that one",
        ),
        (
            '[webhook.a]\ntype = "alertmanager"\nurl = "http://u:cccc@a.example"',
            (
                "webhook 'a': url: http would send the secret in clear text; write https:// (http"
                " is for loopback only)"
            ),
        ),
        ('[webhook.a]\nurl_file = "a"', "webhook 'a': url_file: not an absolute path"),
        (
            f'[webhook.a]\nurl_file = "{URL}"'.replace("https:/", ""),
            "webhook 'a': url_file: cannot be read (No such file or directory)",
        ),
        (
            f'["webhook"."{URL}"]\nurl = "https://a.example/"',
            (
                "webhook something that is no plain word: not a printable name of at most 40"
                " characters"
            ),
        ),
        (
            '[[route]]\nto = "default"\ndestinations = [""]',
            "route 1: destinations: '' names no destination",
        ),
        (
            '[[route]]\nto = "default"\ndestinations = ["10.0.0.*"]',
            (
                "route 1: destinations: '10.0.0.*': is no address, network or host name; write it"
                " like 10.0.0.0/8, db.example.com:5432"
            ),
        ),
        (
            '[[route]]\nto = "default"\npods = ["a b"]',
            "route 1: pods: 'a b' is no pod; write its id as messages show it, or 3f2a*",
        ),
        (
            '[[route]]\nto = "default"\nmin_severity = "critcal"',
            "route 1: min_severity: 'critcal' is unknown; did you mean critical?",
        ),
        (
            '[[route]]\nto = "default"\nmessages = ["digest"]',
            "route 1: messages: '['digest']' is unknown; did you mean digest?",
        ),
        (
            '[[route]]\nto = "default"\nrunbook = "wiki.example.org/database"',
            "route 1: runbook: not a URL; write for example https://wiki.example.org/database",
        ),
        (
            '[[route]]\nto = "default"\nrunbook = "https://wiki.example.org/a|b> <!channel>"',
            "route 1: runbook: not a URL; write for example https://wiki.example.org/database",
        ),
        (
            '[[route]]\nto = "default"\nrunbook = 3',
            "route 1: runbook: not a URL; write for example https://wiki.example.org/database",
        ),
    ],
)
def test_an_error_names_place_and_remedy_and_no_secret(path: Path, text: str, told: str) -> None:
    """Whatever is mixed up, the sentence helps, and holds no part of an address."""
    (error,) = errors(path, text)
    assert error.startswith(told)


def test_the_file_of_an_address_is_named(path: Path) -> None:
    """One that is missing where there is a directory for it, and one that holds no address."""
    other = path.with_name("other.url")
    text = f'[webhook.a]\nurl_file = "{other}"\n[[route]]\nto = "a"'
    where = f"webhook 'a': url_file={other}"
    assert errors(path, text) == [f"{where}: cannot be read (No such file or directory)"]
    other.touch(0o600)
    other.write_text("cccc")
    assert errors(path, text) == [f"{where}: not a URL; write https://hooks.slack.com/services/..."]
    for odd in ("/" + "c" * 5000 + "/cccc", "/c\\u0000c/cccc"):
        assert "cccc" not in str(errors(path, f'[webhook.a]\nurl_file = "{odd}"'))


def test_too_many_webhooks_are_refused(path: Path) -> None:
    """Each has a thread of its own."""
    many = "".join(f'[webhook.w{n}]\nurl = "https://a.example/{n}"\n' for n in range(9))
    assert errors(path, many) == ["webhook: 9 are too many; at most 8"]


def test_what_is_no_toml_is_told_by_line(path: Path) -> None:
    """A secret on that line is not repeated."""
    (told,) = load(path, f'[webhook.a]\nurl = "{URL}\n').errors
    assert "line 2" in told
    assert "cccc" not in told
    path.write_bytes(b"\xff")
    assert routes.load(path, None).errors == (
        f"ROUTES_FILE={path}: is not text in UTF-8 (line 1); save it as UTF-8",
    )
    missing = path.with_name("missing")
    (told,) = routes.load(missing, None).errors
    assert told == f"ROUTES_FILE={missing}: cannot be read (No such file or directory)"


def test_a_credential_comes_from_systemd(path: Path) -> None:
    """By its name in the unit's directory of credentials, and by no path out of it."""
    (path.parent / "hook").write_text(URL)
    path.write_text('[webhook.a]\ncredential = "hook"\n[[route]]\nto = "a"')
    (webhook,) = routes.load(path, path.parent).webhooks
    assert webhook.url.reveal() == URL
    path.write_text('[webhook.a]\ncredential = "../hook"')
    (told,) = routes.load(path, path.parent).errors
    assert told.endswith("credential: not a name, but a path; write url_file")


def test_what_works_but_hardly_as_meant_is_a_warning(path: Path) -> None:
    """A webhook without a route, a route that hides others, a secret that all can read."""
    path.chmod(0o644)
    found = load(
        path, f'[webhook.a]\nurl = "{URL}"\n[[route]]\nto = "default"\n[[route]]\nto = "default"'
    )
    assert found.warnings == (
        f"{path} holds the webhook and every user can read it: chmod o= {path}",
        f"{path}: no route leads to webhook a",
        f"{path}: route 1 matches everything; none after it is used",
    )


def test_the_example_works_once_its_addresses_are_there(path: Path) -> None:
    """`systemd/routes.toml.example` is no dead text."""
    secret = path.with_name("database-team.url")
    secret.touch(0o600)
    secret.write_text(URL)
    text = EXAMPLE.read_text().replace("/etc/tcp-trace/database-team.url", str(secret))
    found = load(path, text)
    assert (found.errors, found.warnings) == ((), ())
    assert len(found.webhooks) == 2
    assert len(found.routes) == 3


def test_the_settings_have_it_all(path: Path) -> None:
    """Errors and secrets of the file are errors and secrets of the configuration."""
    path.write_text(f'[webhook.a]\nurl = "{OTHER}"\n[[route]]\nto = "a"')
    settings = config.load({"ROUTES_FILE": str(path), "SLACK_URL": URL}, None)
    assert [secret.reveal() for secret in settings.secrets] == [URL, OTHER]
    assert settings.routes == (Route(("a",)),)
    path.write_text("[[route]]")
    with pytest.raises(config.ConfigError) as caught:
        config.load({"ROUTES_FILE": str(path), "HOOK": "none"}, None)
    assert len(caught.value.errors) == 2
