"""What must be installed beside Python: the one list that `check` shows and the start asks for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Requirement(NamedTuple):
    """A module, and the package that has it on Debian and Ubuntu."""

    module: str
    package: str


REQUIRED = (
    Requirement("bcc", "python3-bpfcc"),
    Requirement("dotenv", "python3-dotenv"),
    Requirement("pythonjsonlogger", "python3-pythonjsonlogger"),
    Requirement("requests", "python3-requests"),
    Requirement("systemd.daemon", "python3-systemd"),
)
FOR_METRICS = Requirement("prometheus_client", "python3-prometheus-client")


def needed(*, metrics: bool) -> tuple[Requirement, ...]:
    """Return all that a service needs, with METRICS or without."""
    return (*REQUIRED, *((FOR_METRICS,) if metrics else ()))


def missing(*, metrics: bool) -> Iterator[Requirement]:
    """Yield what this Python does not have. Nothing is imported."""
    for requirement in needed(metrics=metrics):
        package = requirement.module.partition(".")[0]
        if find_spec(package) is None or find_spec(requirement.module) is None:
            yield requirement


def sentence(error: ModuleNotFoundError) -> str:
    """Say what to install for a module that is not there."""
    name = (error.name or "").partition(".")[0]
    for module, package in needed(metrics=True):
        if module.partition(".")[0] == name:
            return f"Python's {name} is missing: apt install {package}"
    return f"Python's {name or 'library'} is missing ({error})"
