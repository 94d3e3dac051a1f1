"""The running kernel's own headers, which only a kernel without type information (BTF) needs.

With BTF nothing is read but the package's own tree, `bpf/kernel`.
"""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path

MODULES = Path("/lib/modules")


class HeadersMissing(Exception):  # noqa: N818 - it says what is the matter, and reads so
    """The kernel's headers cannot be used; the text names the package to install."""


def require() -> None:
    """Raise HeadersMissing where BCC would not find the running kernel's headers by itself.

    So too where somebody but root (and this user) can put others there: what is compiled with them
    runs in the kernel.
    """
    release = platform.release()
    build, source = MODULES / release / "build", MODULES / release / "source"
    # Debian has two trees. BCC reads both where both have a link here.
    trees = (build, source) if os.access(source, os.F_OK) else (build,)
    # Not is_file(), which raises where a directory on the way may not be entered.
    if not (
        os.access(build / "include/generated/autoconf.h", os.R_OK)
        and os.access(trees[-1] / "include/linux/kconfig.h", os.R_OK)
    ):
        raise HeadersMissing(_advice(release, "its exact headers are needed"))
    if not all(_is_safe(path) for tree in trees for path in (tree.parent, tree.resolve())):
        where = "its exact headers are needed where only root can change them"
        raise HeadersMissing(_advice(release, where))


def _is_safe(directory: Path) -> bool:
    """Tell whether only root (and this user) can replace what is in a directory.

    In a sticky directory on the way others add, but do not replace.
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
