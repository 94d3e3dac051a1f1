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
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.vm.recipe import DEFAULT_KERNEL, HEADERS, UNPACK_HEADERS, Recipe, recipes

Report = Callable[[str], None]
"""Takes one line of progress, without its newline."""

HOST_KEY_ALIAS = "tcp-trace-vm"

_FREE_BYTES = 1_500_000_000
_LOG_TAIL_LINES = 40
_MMDEBSTRAP_TIMEOUT_S = 1800
_MKE2FS_TIMEOUT_S = 300


class ImageError(RuntimeError):
    """The image cannot be built; the message says why and what to do."""


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
        f"--customize-hook={UNPACK_HEADERS}",
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
    unpacked = root / HEADERS[1:] / "usr/src" / f"linux-headers-{releases[0]}"
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
