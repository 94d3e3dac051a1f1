"""Every file that people write is read alike, and an error names that file or its variable."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.settings import config, textfile
from tcp_trace.settings.config import ConfigError
from tcp_trace.settings.textfile import TextFileError

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc"
ROUTES = f'[webhook.a]\nurl = "{URL}/r"\n[[route]]\nto = ["a"]\n'


FILES: dict[str, tuple[str, str]] = {
    "SLACK_URL_FILE": (URL, "SLACK_URL_FILE={path}: "),
    "ROUTES_FILE": (ROUTES, "ROUTES_FILE={path}: "),
    "env file": (f"SLACK_URL={URL}\nHOST_NAME=db-1\n", "{path}: "),
    "credential": (URL, "the credential slack_url={path}: "),
    "url_file": (URL, "{routes}, webhook 'a': url_file={path}: "),
}
files = pytest.mark.parametrize("which", FILES)


def load(which: str, path: Path) -> config.Settings:
    """Load a configuration in which a file is one of them."""
    routes = path.with_name("routes.toml")
    match which:
        case "env file":
            return config.load({}, path)
        case "credential":
            return config.load({"CREDENTIALS_DIRECTORY": str(path.parent)}, None)
        case "url_file":
            routes.touch(0o600)
            routes.write_text(f'[webhook.a]\nurl_file = "{path}"\n[[route]]\nto = ["a"]\n')
            return config.load({"ROUTES_FILE": str(routes)}, None)
    return config.load({which: str(path)}, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is; only its owner can read it."""
    path = tmp_path / "slack_url"  # as the credential is called
    path.touch(0o600)
    return path


FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "with a byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "from Windows": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode() + b"\r\n",
    "from an old Mac": lambda text: text.replace("\n", "\r").encode(),
    "with space around": lambda text: f"\n\n{text}\n\n".encode(),
}


@files
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_harmless_forms_are_read(which: str, form: Callable[[str], bytes], path: Path) -> None:
    """A byte order mark, and lines that end as on another system, mean nothing."""
    path.write_bytes(form(FILES[which][0]))
    settings = load(which, path)
    urls = [secret.reveal() for secret in settings.secrets]
    assert urls in ([URL], [f"{URL}/r"])
    assert settings.warnings == ()
    if which == "env file":
        assert settings.host_name == "db-1"


SPOILT: dict[str, tuple[Callable[[str], bytes], str]] = {
    "UTF-16 of Windows": (
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        "is text in UTF-16; save it as UTF-8",
    ),
    "UTF-16 of others": (
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        "is text in UTF-16; save it as UTF-8",
    ),
    "UTF-32": (
        lambda text: codecs.BOM_UTF32_LE + text.encode("utf-32-le"),
        "is text in UTF-32; save it as UTF-8",
    ),
    "UTF-16 without a mark": (
        lambda text: text.encode("utf-16-le"),
        "has a NUL in line 1; save it as UTF-8, not as UTF-16, or correct it",
    ),
    "a NUL": (
        lambda text: b"#\n" + text.encode() + b"\0",
        "has a NUL in line",
    ),
    "Latin-1": (
        lambda text: b"# \r\n# \xfcber\n" + text.encode(),
        "is not text in UTF-8 (line 2); save it as UTF-8",
    ),
    "too large": (lambda text: text.encode() + b"\n" * 2**20, "is larger than 1,024 KiB"),
}


@files
@pytest.mark.parametrize(("form", "told"), SPOILT.values(), ids=SPOILT)
def test_what_is_no_such_text_is_told_with_its_file(
    which: str, form: Callable[[str], bytes], told: str, path: Path
) -> None:
    """In one sentence that blames no other variable, and repeats nothing of the file."""
    path.write_bytes(form(FILES[which][0]))
    with pytest.raises(ConfigError) as caught:
        load(which, path)
    (sentence,) = caught.value.errors
    begin = FILES[which][1].format(path=path, routes=path.with_name("routes.toml"))
    assert sentence.startswith(begin + told)
    assert "cccc" not in sentence


@files
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_nothing_waits_for_what_is_no_file(
    which: str, make: Callable[[Path], None], path: Path
) -> None:
    """A reload would wait for a FIFO in the loop that watches."""
    path.unlink()
    make(path)
    with pytest.raises(ConfigError) as caught:
        load(which, path)
    (sentence,) = caught.value.errors
    assert "is no regular file" in sentence or "Is a directory" in sentence


@pytest.mark.parametrize("which", ["SLACK_URL_FILE", "credential"])
def test_what_is_in_a_file_is_blamed_on_the_file(which: str, path: Path) -> None:
    """A file that holds no URL is told of as that file, not as SLACK_URL."""
    path.write_text("\u200b" + URL)
    with pytest.raises(ConfigError) as caught:
        load(which, path)
    (sentence,) = caught.value.errors
    name = "SLACK_URL_FILE" if which == "SLACK_URL_FILE" else "the credential"
    assert sentence == f"{path}: {name}: not a URL; write https://hooks.slack.com/services/..."


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    """A NUL in a path is an error like any other."""
    with pytest.raises(TextFileError, match="cannot be read"):
        textfile.read(Path(f"{tmp_path}/a\0b"))


def test_deep_nesting_is_an_error(path: Path) -> None:
    """TOML that recurses ends in a sentence."""
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError) as caught:
        load("ROUTES_FILE", path)
    assert caught.value.errors == [f"{path}: is not TOML: it is nested too deeply"]
