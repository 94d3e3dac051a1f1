"""Boot an image and use it over ssh.

    with Machine("6.1") as machine:
        machine.put_checkout(Path("."))
        print(machine.run("uname -r").stdout)

Every wait is bounded, and a guest whose kernel dies ends the wait at once, with the kernel's last
words in the exception. QEMU and ssh die with the thread that started them, even if it is killed.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.vm.image import HOST_KEY_ALIAS, Image, ImageError, Report, ensure_image
from tests.vm.qemu import Accel, MachineError, Qemu, accels, remember_kvm_failed
from tests.vm.recipe import DEFAULT_KERNEL, READY_MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

CHECKOUT = "/opt/tcp-trace"
"""Where the tests find the project inside the machine."""

_BOOT_TIMEOUT_S: dict[Accel, float] = {
    # Ready in 20 s on two idle cores; a loaded build machine gets its time.
    "tcg": 240.0,
    # A working KVM is ready in 5 s. One that exists and hangs never is.
    "kvm": 12.0,
}
_CONNECT_TIMEOUT_S = 60.0
_GRACE_S = 15.0
"""What ssh gets on top of a command's own time limit, which is enforced inside the machine."""
_TIMED_OUT = 124
_SSH_FAILED = 255
_SSH_CONFIG = """\
Host machine
HostName 127.0.0.1
Port {port}
User root
IdentityFile "{key}"
IdentitiesOnly yes
BatchMode yes
UserKnownHostsFile "{known_hosts}"
HostKeyAlias {alias}
StrictHostKeyChecking yes
LogLevel ERROR
ConnectTimeout 60
ControlPath "{directory}/ssh"
"""


class CommandError(MachineError):
    """A command inside failed or took too long; `result` has what it printed until then."""

    def __init__(self, message: str, result: subprocess.CompletedProcess[str]) -> None:
        """Append the command's output to the message: a failed test shows nothing else."""
        super().__init__(f"{message}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}")
        self.result = result


class Machine:
    """A virtual machine with one of the images; writes to its disk are thrown away at the end.

    `report` gets a line for each step. Start it from a thread that outlives it: the kernel kills
    QEMU when that thread ends.
    """

    def __init__(
        self,
        kernel: str = DEFAULT_KERNEL,
        *,
        cpus: int = 2,
        memory_mib: int = 3072,
        report: Report = print,
    ) -> None:
        """Prepare only; `start` (or `with`) boots. `kernel` is a series that `recipes()` knows."""
        self.kernel = kernel
        self.boot_seconds = 0.0
        self._cpus = cpus
        self._memory_mib = memory_mib
        self._report = report
        self._running: Qemu | None = None
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Boot."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    # Life

    def start(self) -> None:
        """Build the image if need be, boot it, and return when ssh answers and systemd has settled.

        Tries KVM where it may work, for 12 s; if that fails, emulates, and tries no more until the
        host boots again. Raises ImageError or MachineError.
        """
        _require_tools("qemu-system-x86_64", "setpriv", "ssh", "tar", "git")
        image = ensure_image(self.kernel, self._report)
        for accel in accels():
            try:
                self._boot(image, accel)
            except MachineError:
                if accel == "tcg":
                    raise
                remember_kvm_failed()
                self._report(f"[vm {self.kernel}] KVM exists here but does not work: emulating")
            else:
                return

    def stop(self) -> None:
        """Cut the power; does nothing when the machine is off."""
        if self._master is not None:
            self._master.kill()
            self._master.wait()
            self._master = None
        if self._running is not None:
            self._running.stop()
            self._running = None

    def power_off(self, timeout: float = 90.0) -> None:
        """Shut down as `systemctl poweroff` does, every service stopped in its order, then `stop`.

        Raises MachineError when that takes more than `timeout` seconds.
        """
        self.run("systemctl poweroff --no-block", timeout=30)
        self._qemu.wait_for_end(timeout)
        self.stop()

    def console(self) -> str:
        """Return what the guest has printed on its console so far."""
        return self._qemu.console()

    @property
    def accel(self) -> Accel:
        """How the running machine is executed: "kvm", or "tcg" for emulation."""
        return self._qemu.accel

    @property
    def _qemu(self) -> Qemu:
        if self._running is None:
            message = "the machine is off"
            raise MachineError(message)
        return self._running

    def _boot(self, image: Image, accel: Accel) -> None:
        started = time.monotonic()
        limit = _BOOT_TIMEOUT_S[accel]
        self._running = Qemu(image, accel, cpus=self._cpus, memory_mib=self._memory_mib)
        try:
            self._running.wait_for(READY_MARKER, limit)
            self._connect(image)
            # Status 1 means degraded: a test that minds asks itself.
            self.run("systemctl is-system-running --wait", check=False, timeout=limit)
        except BaseException:
            self.stop()
            raise
        self.boot_seconds = time.monotonic() - started
        self._report(f"[vm {self.kernel}] booted in {self.boot_seconds:.1f} s ({accel})")

    def _connect(self, image: Image) -> None:
        """Open the connection that all commands share: a handshake for each would take a second."""
        config = _SSH_CONFIG.format(
            port=self._qemu.port,
            key=image.key,
            known_hosts=image.known_hosts,
            # Also tells the guest from another program that took the port first.
            alias=HOST_KEY_ALIAS,
            directory=self._qemu.directory,
        )
        (self._qemu.directory / "ssh_config").write_text(config)
        with (self._qemu.directory / "qemu.log").open("ab") as log:
            self._master = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._ssh_command("-M", "-N")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while not (self._qemu.directory / "ssh").exists():
            if self._master.poll() is not None or time.monotonic() > deadline:
                raise self._qemu.error("cannot connect by ssh")
            time.sleep(0.05)

    # Use

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120.0,
        input: str | None = None,  # noqa: A002 (named as in subprocess.run)
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash line, or a command with its arguments, as root; return its status and output.

        After `timeout` seconds ends the command and its process group and raises CommandError; so
        does a status other than 0 unless `check` is off. Raises MachineError when the machine is
        gone. What stays in the background must not hold stdout or stderr: the call waits for those.
        """
        done = self._ssh(command, timeout, (input or "").encode())
        text = _decoded(command, done)
        if check and text.returncode != 0:
            message = f"status {text.returncode} from {command!r} in the machine"
            raise CommandError(message, text)
        return text

    def stream(self, command: str, *, terminal: bool = False) -> int:
        """Run a bash line with this process's own output (and terminal); return its exit status.

        The only call without a time limit: a person, or a limit of the caller's, ends it.
        """
        status = subprocess.call(self._ssh_command("-t" if terminal else "-n", command=command))
        if status == _SSH_FAILED and not self._answers():
            raise self._qemu.error("the machine died")
        return status

    def wait_until(
        self, command: str, timeout: float = 120.0, interval: float = 0.2
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash line every `interval` seconds until its status is 0; return that run.

        Raises CommandError with the last run's output after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            done = self.run(command, check=False, timeout=timeout)
            if done.returncode == 0:
                return done
            if time.monotonic() > deadline:
                message = f"not true within {timeout:.0f} s: {command!r}"
                raise CommandError(message, done)
            time.sleep(interval)

    def put(self, local: Path, remote: str, *, timeout: float = 120.0) -> None:
        """Copy a file or a whole directory to the absolute path `remote`, as root's own."""
        self._unpack([(local, Path(remote).name)], str(Path(remote).parent), timeout)

    def put_checkout(
        self, repository: Path, remote: str = CHECKOUT, *, timeout: float = 120.0
    ) -> None:
        """Replace `remote` by a working tree: what git tracks, and new files it does not ignore."""
        present = [(repository / name, name) for name in _checkout_files(repository)]
        self.run(["rm", "-rf", remote])
        self._unpack(present, remote, timeout)

    def get(self, remote: str, local: Path, *, timeout: float = 120.0) -> None:
        """Copy a file or a whole directory from the absolute path `remote` to the new `local`."""
        source = Path(remote)
        done = self._ssh(["tar", "-c", "-C", str(source.parent), "--", source.name], timeout)
        if done.returncode != 0:
            message = f"cannot read {remote} in the machine"
            raise CommandError(message, _decoded(remote, done))
        local.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=local.parent) as work:
            unpack = ["tar", "-x", "--no-same-owner", "-C", work]
            subprocess.run(unpack, input=done.stdout, check=True)
            (Path(work) / source.name).replace(local)

    def _unpack(self, members: Iterable[tuple[Path, str]], remote: str, timeout: float) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, name in members:
                archive.add(path, arcname=name)
        where = shlex.quote(remote)
        line = f"mkdir -p {where} && tar -x --no-same-owner -C {where}"
        done = self._ssh(line, timeout, packed.getvalue())
        if done.returncode != 0:
            message = f"cannot write to {remote} in the machine"
            raise CommandError(message, _decoded(line, done))

    def _ssh(
        self, command: str | Sequence[str], timeout: float, data: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run with a time limit on either side; the guest's is the one that ends the command."""
        line = command if isinstance(command, str) else shlex.join(command)
        limited = f"timeout --kill-after=5 {timeout:.1f} bash -c {shlex.quote(line)}"
        started = time.monotonic()
        try:
            done = subprocess.run(
                self._ssh_command(command=limited),
                input=data,
                capture_output=True,
                timeout=timeout + _GRACE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"no answer within {timeout + _GRACE_S:.0f} s to {line!r}"
            raise self._qemu.error(message) from None
        if done.returncode == _SSH_FAILED and not self._answers():
            raise self._qemu.error(f"the machine died during {line!r}")
        # A command may have a status 124 of its own, from a time limit inside.
        if done.returncode == _TIMED_OUT and time.monotonic() - started >= timeout:
            message = f"not done within {timeout:.0f} s: {line!r}"
            raise CommandError(message, _decoded(command, done))
        return done

    def _answers(self) -> bool:
        """Tell ssh's own status 255 from a command's."""
        try:
            done = subprocess.run(
                self._ssh_command(command="true"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_GRACE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _ssh_command(self, *flags: str, command: str | None = None) -> list[str]:
        config = str(self._qemu.directory / "ssh_config")
        words = [] if command is None else [command]
        return ["ssh", "-F", config, *flags, "machine", *words]


def _decoded(
    command: str | Sequence[str], done: subprocess.CompletedProcess[bytes]
) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(
        args=command,
        returncode=done.returncode,
        stdout=done.stdout.decode(errors="replace"),
        stderr=done.stderr.decode(errors="replace"),
    )


def _checkout_files(repository: Path) -> list[str]:
    # The tree may belong to another user, as in a container.
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--deduplicate"]
    listed = subprocess.run(
        [*listing, "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=True,
    )
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    # A file deleted and not yet committed is still listed.
    return [name for name in names if os.path.lexists(repository / name)]


def _require_tools(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        message = (
            f"not installed: {', '.join(missing)}; install the packages "
            "qemu-system-x86, util-linux, openssh-client, tar and git"
        )
        raise ImageError(message)
