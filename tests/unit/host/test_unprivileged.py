"""What root's commands hand to a child: who it is there, what it can still do, what comes back."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.host import unprivileged
from tcp_trace.host.unprivileged import Limits, Refused
from tcp_trace.kernel.privileges import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
ME = Account(os.geteuid(), os.getegid())
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


def status() -> dict[str, str]:
    """Return what the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory whose way everybody may go."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@as_root
@pytest.mark.parametrize("account", [Account(NOBODY, 4321, (4322,)), Account(0, 0)])
def test_nothing_of_root_is_left(account: Account) -> None:
    """No id, no group, no capability in any set, no way to gain one; root itself is bare, too."""
    found = unprivileged.call(account, "looking", status)
    assert found["Uid"].split() == [str(account.uid)] * 4
    assert found["Gid"].split() == [str(account.gid)] * 4
    assert found["Groups"].split() == [str(group) for group in account.groups]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[name], 16) == 0, name
    assert found["NoNewPrivs"] == "1"


def test_it_has_no_terminal_and_no_descriptor() -> None:
    """A session of its own, and of the parent's descriptors none but the way to answer."""
    kept = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(kept, True)  # noqa: FBT003 - the signature is the standard library's

    def look() -> list[object]:
        fds = {fd: str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in range(512) if _is_open(fd)}
        return [os.getsid(0) == os.getpid(), fds, str(Path.cwd())]

    own_session, fds, cwd = unprivileged.call(ME, "looking", look)
    os.close(kept)
    assert own_session
    assert [fds.pop(stream) for stream in "012"] == ["/dev/null"] * 3
    assert [re.sub(r"\d+", "N", name) for name in fds.values()] == ["pipe:[N]"]
    assert cwd == "/"


def _is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False


def test_nobody_looks_into_its_memory() -> None:
    """It is a copy of root's: not dumpable, and it dies with the parent."""

    def look() -> list[int]:
        libc, signum = ctypes.CDLL(None), ctypes.c_int()
        libc.prctl(2, ctypes.byref(signum))
        return [libc.prctl(3), signum.value, resource.getrlimit(resource.RLIMIT_CORE)[0]]

    assert unprivileged.call(ME, "looking", look) == [0, signal.SIGKILL, 0]


def children() -> str:
    """Return the children of this thread."""
    return Path("/proc/thread-self/children").read_text()


def exhaust_memory() -> int:
    """Take more memory than there is."""
    return len(bytearray(2_700_000_000))


def exhaust_processor() -> None:
    """Compute for ever."""
    while True:
        pass


def hang() -> None:
    """Wait for ever, whatever a signal says."""
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def nest() -> list[object]:
    """Return what JSON cannot hold."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


def fill_a_disk() -> None:
    """Write a file without end."""
    with tempfile.TemporaryFile() as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)


def flood() -> str:
    """Answer more than anybody reads."""
    return "x" * 20_000_000


def drip() -> None:
    """Answer a byte at a time, without end."""
    (writer,) = (fd for fd in range(3, 256) if _is_open(fd))
    while True:
        os.write(writer, b"t")
        time.sleep(0.001)


def leak() -> None:
    """Fail with a text that holds what nobody may see."""
    raise OSError("https://hooks.slack.com/services/sesame\x1b[31m")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (exhaust_memory, "more than 64 MiB of memory"),
        (exhaust_processor, "took more than 1 s|after 1 s of CPU"),
        (hang, "looking took more than 1 s and was killed"),
        (nest, "nested too deeply"),
        (fill_a_disk, "failed unexpectedly: OSError in"),
        (flood, "returned more than 10 MiB"),
        (os.abort, "looking failed: its child process ended by SIGABRT"),
        (lambda: os._exit(0), "looking failed: its child process ended with exit code 0"),
        (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1), "its child process ended by signal "),
        (drip, "looking took more than 1 s"),
        (leak, r"failed unexpectedly: OSError in .*\.py:\d+$"),
    ],
)
def test_what_goes_wrong_there_is_a_sentence_here(
    function: Callable[[], object], words: str
) -> None:
    """In bounded time and memory, with nothing of what others wrote."""
    seconds = 1.0 if function in {exhaust_processor, hang, drip} else 60.0
    limits = Limits(seconds=seconds, memory=64 << 20, file=1 << 20, result=10 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, started_before = time.monotonic(), children()
    with pytest.raises(Refused, match=words) as caught:
        unprivileged.call(ME, "looking", function, limits)
    assert time.monotonic() - started < 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert "sesame" not in str(caught.value)
    assert children() == started_before


@pytest.mark.parametrize(
    "answer",
    [b"", b"{", b"j" + b"[" * 200_000, b"j" + b"[]" * 9_000_000, b"t\xff", b"r\x1b", b"j", b"x1"],
)
def test_an_answer_of_a_child_that_was_taken_over(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it sends is data: at worst a refusal."""

    def write(_account: object, _function: object, _limits: object, writer: int) -> None:
        with open(writer, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)

    monkeypatch.setattr(unprivileged, "_be_the_child", write)
    with pytest.raises(Refused):
        unprivileged.call(ME, "looking", dict)


def test_a_refusal_keeps_its_words() -> None:
    """What the function refuses there is refused here in its own sentence; JSON comes through."""

    def refuse() -> None:
        raise Refused("it is damaged; remove it")

    with pytest.raises(Refused, match=r"^it is damaged; remove it$"):
        unprivileged.call(ME, "looking", refuse)
    text = "\x1b\ud800\xe9"
    assert unprivileged.call(ME, "looking", lambda: text) == text
    value = {"a": [1, 2.5, None, text]}
    assert unprivileged.call(ME, "looking", lambda: value) == json.loads(json.dumps(value))


def test_a_function_that_finds_a_bug_never_returns_into_the_parents_code() -> None:
    """Whatever it raises, there is one of us afterwards."""
    pid = os.getpid()
    for error in (KeyboardInterrupt, SystemExit):

        def end(error: type[BaseException] = error) -> None:
            raise error

        with contextlib.suppress(Refused):
            unprivileged.call(ME, "looking", end)
        assert os.getpid() == pid


@as_root
def test_the_owner_of_the_directory_is_who_looks(directory: Path) -> None:
    """The owner and the directory's group; a group of root's is not taken along."""
    os.chown(directory, NOBODY, 4321)
    assert unprivileged.owner_of(directory, "outbox.db") == Account(NOBODY, 4321)
    os.chown(directory, 12345, 0)
    assert unprivileged.owner_of(directory, "outbox.db") == Account(12345, NOBODY)
    os.chown(directory, 1, 0)
    assert unprivileged.owner_of(directory, "outbox.db") == Account(1, 1)


@as_root
def test_root_looks_itself_only_where_nobody_else_has_a_hand(directory: Path) -> None:
    """Not through a link or a directory of somebody else's, nor at files of somebody else's."""
    state = directory / "state"
    state.mkdir()
    assert unprivileged.owner_of(state, "outbox.db") == Account(0, 0)
    (state / "outbox.db").touch()
    os.chown(state / "outbox.db", 1, 1)
    assert unprivileged.owner_of(state, "outbox.db") == Account(1, 1)
    (state / "outbox.db").unlink()
    link = directory / "link"
    link.symlink_to(state)
    assert unprivileged.owner_of(link, "outbox.db") == Account(0, 0)
    os.lchown(link, 1, 1)
    assert unprivileged.owner_of(link, "outbox.db") == Account(1, 1)
    directory.chmod(0o777)
    with pytest.raises(Refused, match=f"others can change {directory}"):
        unprivileged.owner_of(state, "outbox.db")
    directory.chmod(0o700)
    os.chown(directory, 1, 1)
    with pytest.raises(Refused, match=f"others can change {directory}"):
        unprivileged.owner_of(state, "outbox.db")


@as_root
def test_a_user_that_does_not_exist() -> None:
    """The sentence says how to make one; root, and who is everybody's, is none either."""
    with pytest.raises(Refused, match=r"SERVICE_USER=tcp-trace-none .*'useradd --system .*-none'"):
        unprivileged.service_user("tcp-trace-none")
    for name in ("root", "nobody"):
        with pytest.raises(
            Refused, match=f"SERVICE_USER={name} must be a user of the service's own"
        ):
            unprivileged.service_user(name)


@as_root
def test_the_service_user_keeps_his_groups() -> None:
    """As systemd and setpriv --init-groups have it: a group may be his way to a file."""
    account = unprivileged.service_user("daemon")
    assert (account.uid, account.gid) == (1, 1)
    assert set(account.groups) == set(os.getgrouplist("daemon", 1))


def test_it_can_use_the_network() -> None:
    """The limits leave room for a client with a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        unprivileged.call(ME, "connecting", lambda: socket.create_connection(address).close())
        server.accept()[0].close()
