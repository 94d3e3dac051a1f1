"""Recipes of the virtual machines' images: packages, files and units of each kernel."""

from __future__ import annotations

import dataclasses
import hashlib
import json

DEFAULT_KERNEL = "6.1"
READY_MARKER = "tcp-trace-vm: ready"
"""What the guest prints on its console once ssh answers."""

_FORMAT = 2
"""Raise it when the code of `image.py` (not the data here) changes what ends up in an image."""

HEADERS = "/opt/kernel-headers"
LINK_HEADERS = f"""set -e
ln -s {HEADERS}/usr/src/linux-headers-* /usr/src
ln -s /usr/src/linux-headers-*-cloud-amd64 "/lib/modules/$(uname -r)/build"
ln -s /usr/src/linux-headers-*-common "/lib/modules/$(uname -r)/source\""""
"""A bash line that puts the kernel's headers where their packages would install them.

Until then they lie unpacked where nothing looks for them.
"""


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
UNPACK_HEADERS = f"""set -e
release=$(ls "$1/usr/lib/modules")
mkdir -p "$1{HEADERS}"
cd "$1{HEADERS}"
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
