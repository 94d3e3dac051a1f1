"""One QEMU process: its command line, its console, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal

from tests.ports import free_port
from tests.vm.image import Image, cache_dir

Accel = Literal["kvm", "tcg"]

_KERNEL_OPTIONS = (
    "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 mitigations=off oops=panic panic=-1"
)
_CPU: dict[Accel, str] = {
    # Kernel 6.12 oopses within seconds on QEMU 7.2's emulation of cmpxchg16b.
    "tcg": "qemu64,-cx16",
    "kvm": "host",
}
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_TRACE_PAUSE_S = 1.0
_CONSOLE_LINES = 60
_KERNEL_DIED = re.compile(
    r"Kernel panic|Oops[: ]|BUG: (?!soft lockup)|general protection fault|Give root password"
)


class MachineError(RuntimeError):
    """The machine did not boot, died, or does not answer; the message ends with its console."""


class Qemu:
    """A running guest; `stop` ends it. The kernel kills it when the thread that made it ends."""

    def __init__(self, image: Image, accel: Accel, *, cpus: int, memory_mib: int) -> None:
        """Start it: the guest boots from now on; its ssh is at `port` of the loopback address."""
        self.accel = accel
        self.kernel = image.kernel
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="tcp-trace-vm-"))
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-smp", str(cpus), "-m", str(memory_mib)),
            *self._devices(image),
        ]
        with (self.directory / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _devices(self, image: Image) -> list[str]:
        threads = ",thread=multi" if self.accel == "tcg" else ""
        return [
            *("-accel", f"{self.accel}{threads}", "-cpu", _CPU[self.accel]),
            # With panic=-1 a dead kernel reboots at once, and that ends QEMU.
            *("-no-reboot", "-serial", f"file:{self.directory / 'console.log'}"),
            *("-kernel", str(image.vmlinuz), "-initrd", str(image.initrd)),
            *("-append", _KERNEL_OPTIONS),
            *("-drive", f"file={image.root},format=raw,if=virtio,snapshot=on,cache=unsafe"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
        ]

    def console(self) -> str:
        """Return what the guest has printed on its console so far."""
        log = self.directory / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def wait_for(self, marker: str, timeout: float) -> None:
        """Return when the console shows `marker`.

        Raises MachineError after `timeout` seconds, or as soon as the kernel dies or QEMU ends.
        """
        deadline = time.monotonic() + timeout
        while marker not in (console := self.console()):
            if _KERNEL_DIED.search(console):
                time.sleep(_TRACE_PAUSE_S)
                raise self.error("the kernel died")
            if self._process.poll() is not None:
                raise self.error("QEMU ended")
            if time.monotonic() > deadline:
                raise self.error(f"no {marker!r} on the console within {timeout:.0f} s")
            time.sleep(_POLL_S)

    def wait_for_end(self, timeout: float) -> None:
        """Return when the guest has powered off; raises MachineError after `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.error(f"not off within {timeout:.0f} s") from None

    def stop(self) -> None:
        """Cut the power and remove the console."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def error(self, what: str) -> MachineError:
        """Make the exception; it shows the console from where the kernel died, else its end."""
        console = self.console()
        died = _KERNEL_DIED.search(console)
        if died:
            start = console.rfind("\n", 0, died.start()) + 1
            shown = console[start:].splitlines()[:_CONSOLE_LINES]
        else:
            shown = console.splitlines()[-_CONSOLE_LINES:]
        qemu = (self.directory / "qemu.log").read_text(errors="replace")
        where = f"{what} (kernel {self.kernel}, {self.accel})"
        return MachineError("\n".join([where, qemu, "--- console", *shown]))


def accels() -> list[Accel]:
    """List what to try, in order: KVM, unless it cannot work or failed since the host booted."""
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["kvm", "tcg"] if usable and not _kvm_failed_mark().exists() else ["tcg"]


def remember_kvm_failed() -> None:
    """Leave KVM alone until the host boots again."""
    _kvm_failed_mark().touch()


def _kvm_failed_mark() -> Path:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return cache_dir() / f"kvm-failed-{boot_id}"
