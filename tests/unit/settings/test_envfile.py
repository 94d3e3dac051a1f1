"""The env file: how it is read, and how errors name its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotenv import dotenv_values

from tcp_trace.settings import config
from tests.unit.settings.loading import errors, load

if TYPE_CHECKING:
    from pathlib import Path


def test_an_error_names_the_line_that_it_is_about(env_file: Path) -> None:
    """Blank lines and comments count; what the environment sets is not the file's mistake."""
    env_file.write_text("\n# x\n\n\nRING_MB=3\n\nHOOK=x # y\n\n\nSLACK_ULR=1\n\n!\n")
    assert [told.partition(": ")[0].removeprefix(str(env_file)) for told in errors(env_file)] == [
        ", line 10",
        ", line 12",
        ", line 7",
        ", line 5",
    ]
    env_file.write_text("RING_MB=3\n")
    assert errors(env_file, RING_MB="5") == [
        "RING_MB=5: not a power of two from 1 to 256; write for example 16"
    ]


def test_an_error_names_the_file_that_it_is_about(env_file: Path) -> None:
    """The file that cannot be read is named with where it was named; one that is wrong, itself."""
    other = env_file.with_name("other")
    for variable in ("SLACK_URL_FILE", "ROUTES_FILE"):
        env_file.write_text(f"\n{variable}={other}\n")
        assert errors(env_file) == [
            f"{env_file}, line 2: {variable}={other}: cannot be read (No such file or directory)"
        ]
    other.touch(0o600)
    other.write_text("no webhook")
    env_file.write_text(f"SLACK_URL_FILE={other}\n")
    why = "not a URL; write https://hooks.slack.com/services/..."
    assert errors(env_file) == [f"{other}: SLACK_URL_FILE: {why}"]
    (env_file.parent / "slack_url").write_text("no webhook")
    assert errors(CREDENTIALS_DIRECTORY=str(env_file.parent)) == [
        f"{env_file.parent}/slack_url: the credential: {why}"
    ]
    env_file.write_text("DEST_HOST=" + ",".join(f"host-{number}" for number in range(65)))
    (error,) = errors(env_file)
    assert error.startswith(f"{env_file}, line 1: DEST_IP, DEST_HOST: 65 hosts")


def test_name_without_value_is_an_error(env_file: Path) -> None:
    """A bare name in the file is not silently the default."""
    env_file.write_text("EVENTS\n")
    assert errors(env_file) == [f"{env_file}, line 1: not understood; write NAME=value"]


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for and is not there, or is no text, is told with its path."""
    (told,) = errors(tmp_path / "absent")
    assert told == f"{tmp_path}/absent: cannot be read (No such file or directory); see --env-file"
    (tmp_path / "binary").write_bytes(b"A=\xff\xfe")
    assert errors(tmp_path / "binary") == [
        f"{tmp_path}/binary: is not text in UTF-8 (line 1); save it as UTF-8; see --env-file"
    ]


def test_file_is_read_as_python_dotenv_reads_it(env_file: Path) -> None:
    """Quotes, comments, export and a byte order mark mean what python-dotenv says."""
    env_file.write_text(
        "\ufeff# comment\nexport HOST_NAME='db 1' # note\nLOG_LEVEL=\"debug\"\n"
        "DEST_IP=10.0.0.0/8 # ours\nSTATE_DIR=/x/${HOME}\n",
        encoding="utf-8",
    )
    with env_file.open(encoding="utf-8-sig") as stream:
        expected = dotenv_values(stream=stream, interpolate=False)
    settings = load(env_file)
    assert settings.host_name == expected["HOST_NAME"] == "db 1"
    assert settings.log_level.value == expected["LOG_LEVEL"]
    assert str(settings.dest_ip[0]) == expected["DEST_IP"]
    assert str(settings.state_dir) == expected["STATE_DIR"] == "/x/${HOME}"


def test_a_file_of_another_kind_is_told_of_briefly(env_file: Path) -> None:
    """Of a thousand wrong lines the first are told, and how many more there are."""
    env_file.write_text("what is this\n" * 1000)
    told = errors(env_file)
    assert len(told) == config.ERRORS_MAX + 1
    assert told[-1] == "and 980 more errors"


def test_a_variable_that_is_gone_is_a_warning(env_file: Path) -> None:
    """An update does not keep the service from starting; it says what to do about it."""
    env_file.write_text("\nPERF_PAGES=512\n")
    assert load(env_file).warnings == (
        (
            f"{env_file}, line 2: PERF_PAGES is gone; remove it: RING_MB is the size of the one"
            " ring there is now"
        ),
    )
    assert load(env_file, PERF_PAGES="").ring_mb == 8
