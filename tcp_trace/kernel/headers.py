"""Kernel headers for BCC's compiler.

With the layout from BTF any installed headers do: BCC includes a few that hardly change. Debian
splits them in an architecture's tree and a common one; BCC looks into one tree only when told
where, so the two are merged by symbolic links.
"""

from __future__ import annotations

import os
import platform
import re
import stat
from pathlib import Path
from typing import NamedTuple

MODULES = Path("/lib/modules")
SOURCES = Path("/usr/src")


class HeadersMissing(Exception):  # noqa: N818 - it says what is the matter, and reads so
    """No usable headers; the text names the package to install."""


class Headers(NamedTuple):
    """Headers for `release`, `exact` where they are the running kernel's own.

    `trees` are the directories that make them up, the more specific first.
    """

    release: str
    exact: bool
    trees: tuple[Path, ...]

    def merge_into(self, directory: Path) -> Path:
        """Make a tree of links in the empty `directory` that looks like one, and return it.

        The compiler's working directory is the tree, and clang also looks into `../lib`: what the
        tree is in must be the caller's alone, too.
        """
        tree = directory / "headers"
        tree.mkdir()
        _merge(self.trees, tree)
        return tree


def find(release: str | None = None, *, exact_only: bool = False) -> Headers:
    """Return the headers of `release` (default: the running kernel's), else any installed ones.

    Raises HeadersMissing where there are none, or none that are exact and `exact_only` is set.
    """
    wanted = release or platform.release()
    # The unit's ProtectKernelModules hides /lib/modules; what Debian links from there is below
    # /usr/src under the release's name.
    for candidate in (MODULES / wanted / "build", SOURCES / f"linux-headers-{wanted}"):
        exact = _trees(candidate)
        if exact:
            return Headers(wanted, exact=True, trees=exact)
    if not exact_only:
        for candidate in _installed():
            trees = _trees(candidate)
            if trees:
                name = candidate.name.removeprefix("linux-headers-")
                return Headers(name, exact=False, trees=trees)
    raise HeadersMissing(_advice(wanted, exact_only=exact_only))


def _installed() -> list[Path]:
    """Return the header trees below /usr/src and /lib/modules, the newest version first."""
    found = [*SOURCES.glob("linux-headers-*"), *SOURCES.glob("kernels/*")]
    found += [build.resolve() for build in MODULES.glob("*/build")]
    return sorted(set(found), key=_version, reverse=True)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name))


def _trees(build: Path) -> tuple[Path, ...]:
    """Return `build`, with Debian's common tree where it has one; nothing where it is no tree."""
    arch = _arch()
    # Not is_file(), which raises where a directory on the way may not be entered.
    if not os.access(build / "include/generated/autoconf.h", os.R_OK):
        return ()
    if (build / "include/linux/kconfig.h").is_file():
        return (build.resolve(),) if _is_safe(build.resolve()) else ()
    makefile = build / "Makefile"
    named = re.search(r"^include (\S+-common\S*)/Makefile", _text(makefile), re.MULTILINE)
    common = Path(named[1]) if named else None
    if common is None or not (common / f"arch/{arch}/include").is_dir():
        return ()
    trees = (build.resolve(), common.resolve())
    return trees if all(map(_is_safe, trees)) else ()


def _is_safe(directory: Path) -> bool:
    """Tell whether only root (and this user) can put other headers there.

    What is compiled with them runs in the kernel. In a sticky directory others add, but do not
    replace.
    """
    for path in (directory, *directory.parents):
        found = path.stat()
        theirs = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if theirs or found.st_uid not in {0, os.geteuid()}:
            return False
    return True


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _arch() -> str:
    """Return the name that the kernel's source gives this machine's architecture."""
    machine = platform.machine()
    return {"x86_64": "x86", "aarch64": "arm64", "ppc64le": "powerpc", "s390x": "s390"}.get(
        machine, machine
    )


def _merge(trees: tuple[Path, ...], into: Path) -> None:
    """Link what one tree has alone; where two have a directory of that name, merge those."""
    names = dict.fromkeys(name for tree in trees for name in sorted(os.listdir(tree)))  # noqa: PTH208
    for name in names:
        having = tuple(tree / name for tree in trees if (tree / name).exists())
        target = into / name
        if len(having) > 1 and all(path.is_dir() for path in having):
            target.mkdir()
            _merge(having, target)
        elif having:
            target.symlink_to(having[0])


def _advice(release: str, *, exact_only: bool) -> str:
    why = (
        f"this kernel ({release}) has no type information (BTF), so its exact headers are needed"
        if exact_only
        else "no kernel headers are installed that only root can change; BCC's compiler needs some"
    )
    packages = f"linux-headers-{release}"
    generic = "" if exact_only else " (any version does: linux-headers-amd64, -generic)"
    return f"{why}: install the package {packages}{generic}"
