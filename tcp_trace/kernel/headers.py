"""The running kernel's own headers, needed only without type information (BTF).

With BTF only the package's own tree is read: `bpf/kernel`.
"""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path

MODULES = Path("/lib/modules")


class HeadersMissing(Exception):  # noqa: N818 - named after the problem
    """The kernel's headers cannot be used; the text names the package to install."""


def require() -> None:
    """Raise HeadersMissing if BCC would not find the running kernel's headers by itself.

    Also if anybody but root and this user could replace them: code compiled with them runs in the
    kernel.
    """
    release = platform.release()
    build, source = MODULES / release / "build", MODULES / release / "source"
    # Debian has two trees; BCC reads both if both have a link here.
    trees = (build, source) if os.access(source, os.F_OK) else (build,)
    # Not is_file(), which raises if a parent directory may not be entered.
    if not (
        os.access(build / "include/generated/autoconf.h", os.R_OK)
        and os.access(trees[-1] / "include/linux/kconfig.h", os.R_OK)
    ):
        raise HeadersMissing(_advice(release, "its exact headers are needed"))
    if not all(_is_safe(path) for tree in trees for path in (tree.parent, tree.resolve())):
        where = "its exact headers are needed, in directories that only root can change"
        raise HeadersMissing(_advice(release, where))


def _is_safe(directory: Path) -> bool:
    """Return whether only root and this user can replace the contents of a directory.

    In a sticky parent directory others can add files, but not replace any.
    """
    for path in (directory, *directory.parents):
        found = path.stat()
        theirs = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if theirs or found.st_uid not in {0, os.geteuid()}:
            return False
    return True


def _advice(release: str, why: str) -> str:
    return (
        f"this kernel ({release}) has no type information (BTF), so {why}: install the package "
        f"linux-headers-{release}; the unit hides them until docs/TROUBLESHOOTING.md is followed"
    )
