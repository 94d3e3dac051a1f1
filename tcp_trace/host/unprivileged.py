"""Runs work for root's commands in an unprivileged child.

Files in STATE_DIR belong to the service user, and answers from the network are untrusted. An
attacker who controls either must gain nothing when root looks. So the child becomes the owner of
the files before it touches them. It has no capability, no terminal, none of root's descriptors and
few resources, and is killed if it takes too long. Its answer is untrusted: text or JSON of bounded
size, escaped before it is shown.

A caller who is not root stays who he is; the limits apply all the same.
"""

from __future__ import annotations

import json
import os
import pwd
import resource
import select
import signal
import stat
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tcp_trace.host import serviceuser
from tcp_trace.kernel.privileges import PR_SET_PDEATHSIG, Account, become, prctl

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 1 << 20
_MOST_JSON = 256 << 10
# The first byte of an answer is the type of the rest.
_TEXT, _JSON, _REFUSED = b"t", b"j", b"r"
_SIGNALS = [(each.value, each.name) for each in signal.Signals]

_OVERFLOW_ID = 65534
"""Documentation/admin-guide/sysctl/fs.rst: the id of users unknown to the kernel."""


class Refused(Exception):  # noqa: N818 - named after the result
    """The work was refused; the text is a sentence with the reason and the fix."""


class NoDirectory(Refused):
    """The directory does not exist."""


class Limits(NamedTuple):
    """Limits of a child: `seconds` of wall time and of CPU time, bytes of memory and of a file.

    `memory` is added to the process's current size; `result` limits its answer.
    """

    seconds: float = 20.0
    memory: int = 512 * _MIB
    file: int = 8 * _MIB
    result: int = 64 * _MIB


LIMITS = Limits()


def service_user(name: str) -> Account:
    """Return the account of SERVICE_USER; raises Refused if the service has no user of its own.

    A caller who is not root gets his own: he can become no other.
    """
    try:
        return serviceuser.chosen(name)
    except serviceuser.AccountError as error:
        raise Refused(str(error)) from None


def owner_of(directory: Path, hint: str) -> Account:
    """Return the account to become before looking into a state directory.

    It is the directory's owner; if that is root, the owner of the file `hint` in it. It is root,
    without any capability, only if no other user can change the path. Raises Refused, and
    NoDirectory.
    """
    try:
        found = directory.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid == 0:
            found = directory.stat()
        if found.st_uid == 0:
            found = _owner_within(directory, hint, found)
    except FileNotFoundError:
        raise NoDirectory(
            f"{directory} does not exist: has the service run here? Set STATE_DIR to the service's"
            " own value"
        ) from None
    except OSError as error:
        raise Refused(f"STATE_DIR={directory}: {error.strerror}; try it as root") from None
    return Account(found.st_uid, found.st_gid or _group_of(found.st_uid))


def _owner_within(directory: Path, hint: str, found: os.stat_result) -> os.stat_result:
    """Return the owner's stat for a root-owned directory whose path only root can change."""
    for path in {*directory.parents, *directory.resolve().parents}:
        step = path.lstat()
        open_to_others = step.st_mode & 0o022 and not step.st_mode & stat.S_ISVTX
        if step.st_uid != 0 or (stat.S_ISDIR(step.st_mode) and open_to_others):
            raise Refused(
                f"STATE_DIR={directory} is root's, but others can change {path}: choose another one"
            )
    try:
        return (directory / hint).lstat()
    except FileNotFoundError:
        return found


def _group_of(uid: int) -> int:
    if uid == 0:
        return 0
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return _OVERFLOW_ID


def call(account: Account, what: str, function: Callable[[], Any], limits: Limits = LIMITS) -> Any:  # noqa: ANN401 - JSON
    """Return the result of `function` in a child that has become `account`: text, or little JSON.

    `what` begins the sentences of errors: "reading /var/lib/tcp-trace". Raises Refused, with the
    child's own text if the function raised Refused there.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        # Python 3.12 warns about fork with threads. A command has one; tests have more, but those
        # hold no lock that the child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(account, function, limits, writer)
    os.close(writer)
    try:
        answer = _read(reader, what, limits)
    finally:
        os.close(reader)
        # Not waited for yet, so the PID cannot have been reused.
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return _understand(answer, what, status, limits)


def _read(reader: int, what: str, limits: Limits) -> bytes:
    """Return all bytes of the pipe."""
    deadline = time.monotonic() + limits.seconds
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    pieces: list[bytes] = []
    size = 0
    while (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000):
        piece = os.read(reader, _MIB)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > limits.result:
            raise Refused(
                f"{what} returned more than {limits.result // _MIB} MiB; nothing is shown"
            )
    raise Refused(
        f"{what} took more than {limits.seconds:g} s and was killed: a lock, a disk or a"
        " resolver may block it"
    )


def _understand(answer: bytes, what: str, status: int, limits: Limits) -> Any:  # noqa: ANN401 - JSON
    """Return the decoded answer. Text keeps its size; JSON may grow twentyfold."""
    kind, content = answer[:1], answer[1:]
    try:
        if kind in {_TEXT, _REFUSED}:
            text = content.decode("utf-8", "surrogatepass")
            if kind == _TEXT:
                return text
            raise Refused(text)
        if kind == _JSON and len(content) <= _MOST_JSON:
            return json.loads(content)
    except (ValueError, RecursionError):
        pass  # the same error as for an unknown type
    how = _how_it_ended(status, limits)
    raise Refused(f"{what} failed: its child process ended {how}")


def _how_it_ended(status: int, limits: Limits) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"with exit code {code}"
    if -code == signal.SIGXCPU:
        return f"after {limits.seconds:g} s of CPU"
    return f"by {dict(_SIGNALS).get(-code, f'signal {-code}')}"


def _be_the_child(
    account: Account, function: Callable[[], Any], limits: Limits, writer: int
) -> NoReturn:
    """Give up everything, do the work, answer, and never return into the parent's code."""
    status = 1
    try:
        outcome = _outcome(account, function, limits, writer)
        answer = memoryview(outcome)
        while answer:
            answer = answer[os.write(writer, answer) :]
        status = 0
    finally:
        os._exit(status)  # the parent's flush, finally and atexit must not run twice


def _outcome(account: Account, function: Callable[[], Any], limits: Limits, writer: int) -> bytes:
    try:
        _give_up(account, limits, writer)
        value = function()
        if isinstance(value, str):
            return _TEXT + value.encode("utf-8", "surrogatepass")
        return _JSON + json.dumps(value).encode()
    except Refused as error:
        text = str(error)
    except RecursionError:
        text = "nested too deeply: the service did not write it"
    except MemoryError:
        text = f"not read: it takes more than {limits.memory // _MIB} MiB of memory"
    except Exception as error:  # noqa: BLE001 - its text may be untrusted, or hold a secret
        text = f"failed unexpectedly: {_place(error)}"
    return _REFUSED + text.encode("utf-8", "surrogatepass")


def _place(error: Exception) -> str:
    """Return the class of an error, and the source line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(error).__name__}{where}"


def _give_up(account: Account, limits: Limits, writer: int) -> None:
    """Become `account` and keep nothing of root's; raises OSError if that fails."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    become(account)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _limit(limits)


def _limit(limits: Limits) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + limits.memory
    seconds = int(limits.seconds)
    for what, soft, most in (
        (resource.RLIMIT_CORE, 0, 0),
        # SIGXCPU says why at the soft limit; at the hard one, it may be SIGKILL that comes first.
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, limits.file, limits.file),
        (resource.RLIMIT_AS, memory, memory),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (min(soft, least), least))
