"""Build the Debian root images that the virtual machines boot.

An image is a directory in the cache: a kernel, an initial RAM disk, a root file system and the key
that logs in as root. It is named after the sha256 of its recipe, so that a changed recipe makes a
new image and an unchanged one is built once. Machines boot it with throw-away writes: nothing ever
modifies it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Report = Callable[[str], None]
"""Takes one line of progress, without its newline."""

DEFAULT_KERNEL = "6.1"
HOST_KEY_ALIAS = "tcp-trace-vm"
READY_MARKER = "tcp-trace-vm: ready"
"""What the guest prints on its console once ssh answers."""

_FORMAT = 2
"""Raise it when this module's code (not its data) changes what ends up in an image."""
_FREE_BYTES = 1_500_000_000
_LOG_TAIL_LINES = 40
_MMDEBSTRAP_TIMEOUT_S = 1800
_MKE2FS_TIMEOUT_S = 300

_HEADERS = "/opt/kernel-headers"
LINK_HEADERS = f"""set -e
ln -s {_HEADERS}/usr/src/linux-headers-* /usr/src
ln -s /usr/src/linux-headers-*-cloud-amd64 "/lib/modules/$(uname -r)/build"
ln -s /usr/src/linux-headers-*-common "/lib/modules/$(uname -r)/source\""""
"""A bash line that puts the kernel's headers where their packages would install them.

Until then they lie unpacked where nothing looks for them.
"""


class ImageError(RuntimeError):
    """The image cannot be built; the message says why and what to do."""


_PACKAGES = (
    # The system itself.
    "systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "kmod", "util-linux", "procps",
    "iproute2", "ca-certificates", "curl", "make", "openssl",
    # What the service needs, and what its packaging touches.
    "python3-bpfcc", "bpfcc-tools", "libbpf1", "python3-requests", "python3-pythonjsonlogger",
    "python3-dotenv", "python3-prometheus-client", "logrotate",
    # What the tests need.
    "python3-pytest", "python3-hypothesis", "nftables", "bpftool", "iputils-ping",
    "systemd-resolved", "dnsmasq-base",
)  # fmt: skip

# Timers with Persistent= fire at the first boot of an image; under emulation each costs seconds.
_MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "logrotate.timer",
    "man-db.timer",
    "serial-getty@ttyS0.service",
    "systemd-pstore.service",
    "systemd-resolved.service",
)

# Only the disk and the network: the default initial RAM disk is four times as large to unpack.
# In place before the packages, so that the disk is generated once.
_EARLY_FILES = {
    "etc/initramfs-tools/conf.d/tcp-trace": "MODULES=list\nCOMPRESS=gzip\n",
    "usr/share/initramfs-tools/modules.d/tcp-trace": "virtio_pci\nvirtio_blk\nvirtio_net\next4\n",
}

_FILES = {
    "etc/fstab": "/dev/vda / ext4 noatime 0 0\n",
    "etc/hostname": "tcp-trace-vm\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 tcp-trace-vm\n::1 localhost ip6-localhost\n",
    # A fixed id: an empty one makes every boot a first boot, with all presets applied again.
    "etc/machine-id": "7c9e6679f0c44b3b9b2f6a5d1f0e2c11\n",
    # Nobody answers on the outside: name look-ups must fail at once and not after ten seconds.
    "etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    # Without PAM no login session, whose user manager takes seconds to start under emulation.
    "etc/ssh/sshd_config.d/tcp-trace.conf": (
        "UsePAM no\n"
        "PermitRootLogin prohibit-password\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "MaxSessions 100\n"
        "PrintMotd no\n"
    ),
    # QEMU's user network: the guest is always 10.0.2.15, the gateway 10.0.2.2.
    "etc/systemd/system/vm-network.service": (
        "[Unit]\n"
        "Description=Address of the test network\n"
        "BindsTo=sys-subsystem-net-devices-eth0.device\n"
        "After=sys-subsystem-net-devices-eth0.device\n"
        "Before=network.target network-online.target ssh.service\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        "ExecStart=ip address add 10.0.2.15/24 dev eth0\n"
        "ExecStart=ip link set eth0 up\n"
        "ExecStart=ip route add default via 10.0.2.2\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    ),
    "etc/systemd/system/vm-ready.service": (
        "[Unit]\n"
        "Description=Tell the console that ssh answers\n"
        "After=ssh.service vm-network.service\n"
        "Requires=ssh.service vm-network.service\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"ExecStart=/bin/sh -c 'echo {READY_MARKER} >/dev/console'\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    ),
}

# The kernel is the only one, and its flavour has an architecture's tree and a common one.
_UNPACK_HEADERS = f"""set -e
release=$(ls "$1/usr/lib/modules")
mkdir -p "$1{_HEADERS}"
cd "$1{_HEADERS}"
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download \
    "linux-headers-$release" "linux-headers-${{release%-cloud-amd64}}-common"
for package in *.deb; do dpkg-deb -x "$package" .; done
rm ./*.deb"""

_ENABLED_UNITS = ("vm-network.service", "vm-ready.service")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides what an image contains."""

    kernel: str
    suite: str
    kernel_suite: str
    packages: tuple[str, ...]
    early_files: dict[str, str]
    files: dict[str, str]
    masked_units: tuple[str, ...]
    enabled_units: tuple[str, ...]
    format: int = _FORMAT

    @property
    def name(self) -> str:
        """The name in the cache: the kernel and the first 12 digits of the recipe's sha256."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return f"{self.kernel}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True)
class Image:
    """A built image: paths of its parts, all in one directory of the cache."""

    kernel: str
    directory: Path

    @property
    def vmlinuz(self) -> Path:
        """The kernel."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial RAM disk."""
        return self.directory / "initrd.img"

    @property
    def root(self) -> Path:
        """The root file system: raw ext4, read-only for its users."""
        return self.directory / "root.ext4"

    @property
    def key(self) -> Path:
        """The private key that logs in as root."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The guest's public host key under the name `HOST_KEY_ALIAS`."""
        return self.directory / "known_hosts"


def _recipe(kernel: str, suite: str, *, abi: str = "", kernel_suite: str = "") -> Recipe:
    flavour = f"{abi}-cloud-amd64" if abi else "cloud-amd64"
    return Recipe(
        kernel=kernel,
        suite=suite,
        kernel_suite=kernel_suite,
        packages=(f"linux-image-{flavour}", *_PACKAGES),
        early_files=_EARLY_FILES,
        files=_FILES,
        masked_units=_MASKED_UNITS,
        enabled_units=_ENABLED_UNITS,
    )


def recipes() -> dict[str, Recipe]:
    """All recipes by kernel series, in the order of their importance."""
    return {
        "6.1": _recipe("6.1", "bookworm"),
        "6.12": _recipe("6.12", "trixie"),
        # Only bullseye's kernel, under bookworm's user space: the same BCC and Python as on 6.1.
        # Its last kernel by name: the package that depends on the latest is gone from mirrors.
        "5.10": _recipe("5.10", "bookworm", abi="5.10.0-46", kernel_suite="bullseye"),
    }


def cache_dir() -> Path:
    """Return where images and packages are kept: $TCP_TRACE_VM_CACHE, else in ~/.cache."""
    chosen = os.environ.get("TCP_TRACE_VM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "tcp-trace" / "vm"


def ensure_image(kernel: str = DEFAULT_KERNEL, report: Report = print) -> Image:
    """Return the image for a kernel series such as "6.1", building it if the cache has none.

    A first build takes one to three minutes and downloads about 200 MB. Concurrent callers wait for
    one build. Raises ImageError when the series is unknown or the build fails.
    """
    known = recipes()
    if kernel not in known:
        message = f"unknown kernel {kernel!r}: choose one of {', '.join(known)}"
        raise ImageError(message)
    recipe = known[kernel]
    cache = cache_dir()
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    image = Image(kernel, cache / recipe.name)
    with (cache / f"{recipe.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.directory.exists():
            _build(recipe, image, cache, report)
    return image


def _build(recipe: Recipe, image: Image, cache: Path, report: Report) -> None:
    """Build beside the final place and rename at the end: a half-built image is never found."""
    _require_host()
    started = time.monotonic()

    def phase(what: str) -> None:
        report(f"[vm {recipe.kernel}] {time.monotonic() - started:4.0f} s  {what}")

    log = cache / f"{recipe.name}.log"
    log.unlink(missing_ok=True)
    with _work_dir(cache) as work:
        root, out = work / "root", Image(recipe.kernel, work / "image")
        out.directory.mkdir()
        phase(f"installing {recipe.suite} with kernel {recipe.kernel} (log: {log})")
        _bootstrap(recipe, root, work, cache, log)
        phase("configuring")
        _configure(recipe, root, out)
        _take_kernel(root, out)
        phase("making the file system")
        _make_file_system(root, out.root, log)
        out.directory.rename(image.directory)
    phase(f"built {image.directory}")


def _require_host() -> None:
    missing = [tool for tool in ("mmdebstrap", "mke2fs", "ssh-keygen") if not shutil.which(tool)]
    if missing:
        message = (
            f"not installed: {', '.join(missing)}; "
            "install the packages mmdebstrap, e2fsprogs and openssh-client"
        )
        raise ImageError(message)
    if os.geteuid() != 0:
        message = "building an image takes root, because its files belong to root: run it with sudo"
        raise ImageError(message)


@contextlib.contextmanager
def _work_dir(cache: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    try:
        yield work
    finally:
        # Not shutil.rmtree: an interrupted mmdebstrap may leave /proc or /dev mounted below.
        subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=False)


def _bootstrap(recipe: Recipe, root: Path, work: Path, cache: Path, log: Path) -> None:
    """Install the packages, taking from and adding to the cache of downloaded ones."""
    early = work / "early"
    _write_files(early, recipe.early_files)
    archives = cache / "apt" / recipe.suite
    archives.mkdir(parents=True, exist_ok=True)
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        "--skip=download/empty,essential/unlink",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in _host_proxies()),
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")),
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
        f"--setup-hook=sync-in '{archives}' /var/cache/apt/archives",
        f"--setup-hook=sync-in '{early}' /",
        f"--customize-hook={_UNPACK_HEADERS}",
        f"--customize-hook=sync-out /var/cache/apt/archives '{archives}'",
        recipe.suite,
        str(root),
        *_sources(*filter(None, (recipe.suite, recipe.kernel_suite))),
    ]
    _run_logged(command, log, _MMDEBSTRAP_TIMEOUT_S)


def _sources(*suites: str) -> list[str]:
    """Return the sources of these suites, from where this host's apt has Debian.

    On a host that has it from nowhere, $TCP_TRACE_VM_MIRROR is an address with debian/ and
    debian-security/.
    """
    chosen = os.environ.get("TCP_TRACE_VM_MIRROR", "").rstrip("/")
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"]
    command += ["Created-By: Packages", "Origin: Debian"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    mirrors = dict(line.split() for line in listed.splitlines() if line.count(" ") == 1)
    if chosen:
        mirrors = {"Debian": f"{chosen}/debian", "Debian-Security": f"{chosen}/debian-security"}
    try:
        main, security = mirrors["Debian"], mirrors["Debian-Security"]
    except KeyError as missing:
        message = (
            f"apt has no source labelled {missing} here: run apt-get update, "
            "or set TCP_TRACE_VM_MIRROR to the address of a mirror"
        )
        raise ImageError(message) from None
    return [
        f"deb {uri} {suite}{part} main"
        for suite in suites
        for uri, part in ((main, ""), (security, "-security"))
    ]


def _host_proxies() -> list[str]:
    """Return the proxies of apt's configuration: mmdebstrap heeds only the environment's."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return re.findall(r'(?im)^Acquire::https?::Proxy\S* "[^"]*";$', dump.stdout)


def _run_logged(command: Sequence[str], log: Path, timeout_s: float) -> None:
    """Run with all output in `log`; its tail becomes the error when the command fails."""
    with log.open("a") as output:
        try:
            # No terminal to read from: a question of a package's script must fail, not wait.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            failure = f"did not finish in {timeout_s:.0f} s"
        else:
            if done.returncode == 0:
                return
            failure = f"failed with status {done.returncode}"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    message = f"{command[0]} {failure}; the end of {log}:\n{tail}"
    raise ImageError(message)


def _write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link leads out of the root, or nowhere
        path.write_text(text)


def _configure(recipe: Recipe, root: Path, out: Image) -> None:
    _write_files(root, recipe.files)
    units = root / "etc/systemd/system"
    for unit in recipe.masked_units:
        _link(units / unit, "/dev/null")
    for unit in recipe.enabled_units:
        _link(units / "multi-user.target.wants" / unit, f"/etc/systemd/system/{unit}")
    _link(units / "default.target", "/lib/systemd/system/multi-user.target")
    _install_keys(root, out)
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    # Tells systemd that /etc and /var are as new as /usr: no databases to rebuild at boot.
    for part in ("etc", "var"):
        (root / part / ".updated").touch()


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _install_keys(root: Path, out: Image) -> None:
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(out.key)]
    subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(out.key.with_suffix(".pub").read_text())
    host_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    out.known_hosts.write_text(f"{HOST_KEY_ALIAS} {host_key}")


def _take_kernel(root: Path, out: Image) -> None:
    releases = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(releases) != 1 or not releases[0].startswith(f"{out.kernel}."):
        message = f"expected one kernel {out.kernel} in the image, found: {', '.join(releases)}"
        raise ImageError(message)
    unpacked = root / _HEADERS[1:] / "usr/src" / f"linux-headers-{releases[0]}"
    if not (unpacked / "include/generated/autoconf.h").is_file():
        message = f"kernel {releases[0]} came without its headers"
        raise ImageError(message)
    shutil.copyfile(root / "boot" / f"vmlinuz-{releases[0]}", out.vmlinuz)
    shutil.copyfile(root / "boot" / f"initrd.img-{releases[0]}", out.initrd)


def _make_file_system(root: Path, target: Path, log: Path) -> None:
    """Make an ext4 of the tree with 1.5 GB to spare; the file itself is sparse.

    No journal and no checksums: a machine's writes are thrown away, and both cost time under
    emulation.
    """
    used = subprocess.run(
        ["du", "-sx", "--block-size=1", str(root)], check=True, capture_output=True, text=True
    )
    size_kib = (int(used.stdout.split()[0]) * 11 // 10 + _FREE_BYTES) // 1024
    command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-m", "0"]
    command += ["-E", "lazy_itable_init=0", "-d", str(root), str(target), f"{size_kib}k"]
    _run_logged(command, log, _MKE2FS_TIMEOUT_S)
