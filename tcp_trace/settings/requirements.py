"""Packages that must be installed beside Python: the one list, for `check` and the start."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Requirement(NamedTuple):
    """A module of Python's or a shared library, and the package of Debian's that has it."""

    name: str
    package: str

    @property
    def is_library(self) -> bool:
        """Whether it is a library, which the loader finds."""
        return ".so." in self.name

    @property
    def fix(self) -> str:
        """The command that installs it."""
        return f"apt install {self.package}"

    def is_there(self) -> bool:
        """Tell whether it is; a module is looked for and not imported."""
        if not self.is_library:
            return find_spec(self.name) is not None
        import ctypes  # noqa: PLC0415 - reading the configuration, too, goes without

        try:
            ctypes.CDLL(self.name)
        except OSError:
            return False
        return True

    def __str__(self) -> str:
        """Say what is missing, and how to install it."""
        if self.is_library:
            return f"{self.name} cannot be loaded: {self.fix}"
        return f"Python's {self.name} is missing: {self.fix}"


REQUIRED = (
    Requirement("bcc", "python3-bpfcc"),
    Requirement("dotenv", "python3-dotenv"),
    Requirement("pythonjsonlogger", "python3-pythonjsonlogger"),
    Requirement("requests", "python3-requests"),
    Requirement("libbcc_bpf.so.0", "libbpfcc"),
    Requirement("libseccomp.so.2", "libseccomp2"),
)
"""METRICS needs one more, which `values.metrics` asks for."""


def missing() -> Iterator[Requirement]:
    """Yield what is not there."""
    return (requirement for requirement in REQUIRED if not requirement.is_there())


def sentence(error: ModuleNotFoundError) -> str:
    """Say what to install for a module that is not there."""
    name = (error.name or "").partition(".")[0]
    for requirement in REQUIRED:
        if requirement.name == name:
            return str(requirement)
    return f"Python's {name} is missing"
