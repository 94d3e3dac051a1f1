"""The maker of a failed attempt, from data of the kernel and /proc.

The meaning of a cgroup's path, by the conventions of those who create cgroups:

    systemd            slices, then the unit: /system.slice/nginx.service; a user's own manager
                       is a unit with slices and units of its own below it
    Docker             /system.slice/docker-<id>.scope or, without systemd, /docker/<id>
    Podman             libpod-<id>.scope or libpod-<id>, libpod-payload-<id> below a unit
    containerd, CRI-O  cri-containerd-<id>.scope, crio-<id>.scope, <slice>:cri-containerd:<id>
    Kubernetes         kubepods-burstable-pod<uid with _>.slice or /kubepods/burstable/pod<uid>,
                       with the container below it

All of it is untrusted: a user with a delegated cgroup names the cgroups below it as he likes. Names
are made visible and bounded. Unknown values are None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.safetext import ELLIPSIS, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME_LIMIT = 255
COMMAND_LIMIT = 256
HIDDEN = "<hidden>"
RUNTIMES = {
    "docker": "docker",
    "containerd": "containerd",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}

_PATH_LIMIT = 4096
_LEVELS = 64
_CONTAINER = re.compile(r"(?:(?:.*:)?([a-z-]+)[-:])?([0-9a-f]{64})(?:\.scope)?")
# The UID of a static pod is a hash. systemd allows no dash in the name of a slice.
_POD = re.compile(
    r"(?:.*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?(?::.*)?",
    re.DOTALL,
)
_UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")
_USER_MANAGER = re.compile(r"user@[0-9]+\.service")

# Bounded repetitions: a hostile command line must not keep the poll loop busy.
_TELLING = r"(?:passw|passphrase|secret|token|api[-_]?key|access[-_]?key|credential|auth)"
_SECRET_VALUE = re.compile(rf"(?i)({_TELLING}[\w-]{{0,20}}\s?[=:]\s?).+", re.DOTALL)
_SECRET_OPTION = re.compile(rf"(?i)--?[\w-]{{0,20}}{_TELLING}[\w-]{{0,20}}")
_URL_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")
_USER_OPTIONS = {"-u", "--user"}


class Where(NamedTuple):
    """The unit, container and pod in a cgroup's path; each None if the path does not show it.

    `unit` is systemd's, the container's own if systemd runs inside it. `container_id` has 64
    hexadecimal digits; `container_runtime` is docker, containerd, cri-o or podman. `pod_uid` is
    Kubernetes' with dashes.
    """

    unit: str | None = None
    container_id: str | None = None
    container_runtime: str | None = None
    pod_uid: str | None = None

    @property
    def container(self) -> str | None:
        """The container as Kubernetes writes it: `containerd://<id>`, or the bare id."""
        if self.container_id is None or self.container_runtime is None:
            return self.container_id
        return f"{self.container_runtime}://{self.container_id}"


class Cgroup(NamedTuple):
    """A cgroup's path, and the part of it named outside its container.

    `outside` is the path of the root cgroup of a process there (its cgroup namespace): the
    container named everything below. On the host it is `/`. `owner` is the id of the owning cgroup
    (service, pod or user's manager), 0 for none.
    """

    path: str
    outside: str
    owner: int = 0


class Maker(NamedTuple):
    """The maker of an attempt, beyond `Process`; each None if unknown.

    All are visible text of bounded length; trust them no further than the named user: see this
    module. Recognizable passwords are removed from `command`. `owner` is the id of the cgroup of
    the service, pod or user, which may name the cgroups below it.
    """

    user: str | None = None
    unit: str | None = None
    container: str | None = None
    pod: str | None = None
    command: str | None = None
    owner: int | None = None


NOWHERE = Where()
UNKNOWN = Maker()


def parse_cgroup(path: str) -> Where:
    """Return the unit, container and pod in a cgroup's path. Takes any text."""
    where = NOWHERE
    parent = ""
    below_unit = False
    for name in (level[:NAME_LIMIT] for level in path[:_PATH_LIMIT].split("/")[:_LEVELS]):
        pod = _POD.fullmatch(name)
        if pod:
            where = where._replace(pod_uid=_dashed(pod[1]))
        container = _container(name, parent)
        if container:
            where = where._replace(container_id=container[0], container_runtime=container[1])
            below_unit = False  # systemd may run inside, too
        elif not below_unit and name.endswith(_UNIT_SUFFIXES):
            is_managers_own = name == "init.scope" and _is_user_manager(where.unit)
            unit = where.unit if is_managers_own else clean(name.removeprefix("_"))
            where = where._replace(unit=unit)
            below_unit = not _is_user_manager(unit)
        parent = name
    return where


def parse_proc_cgroup(text: str) -> Where:
    """Return the same from `/proc/PID/cgroup`: lines like `0::/path` and `4:memory:/path`.

    Version 1 has a hierarchy per controller, and a process may be in a container in some of them
    and in its parent's cgroup in others: the container counts.
    """
    lines = (line.split(":", 2) for line in text[: _PATH_LIMIT * 4].splitlines())
    paths = {line[1]: line[2] for line in lines if len(line) == 3}
    first = [paths.pop(name) for name in ("", "name=systemd") if name in paths]
    found = [parse_cgroup(path) for path in (*first, *paths.values())]
    found.sort(key=lambda where: (where.container_id is None, where.unit is None))
    return found[0] if found else NOWHERE


def command_line(arguments: Iterable[str]) -> str:
    """Return a command line for people, without recognizable passwords.

    They are recognized by the names of options and headers, and in URLs; an unusual one stays.
    """
    shown: list[str] = []
    length = 0
    before = ""
    for argument in arguments:
        if length > COMMAND_LIMIT:
            break
        shown.append(_without_secret(argument, before))
        length += len(shown[-1]) + 1
        before = argument
    text = visible(" ".join(shown))
    return text if len(text) <= COMMAND_LIMIT else text[: COMMAND_LIMIT - 1] + ELLIPSIS


def clean(name: str) -> str:
    """Return an untrusted name, visible and of bounded length."""
    return visible(name[:NAME_LIMIT])[:NAME_LIMIT]


def _container(name: str, parent: str) -> tuple[str, str | None] | None:
    found = _CONTAINER.fullmatch(name)
    if found is None:
        return None
    if found[1] is None:
        return found[2], "docker" if parent == "docker" else None
    # conmon, which watches a container from outside, has scopes of the same shape.
    return (found[2], RUNTIMES[found[1]]) if found[1] in RUNTIMES else None


def _is_user_manager(unit: str | None) -> bool:
    return unit is not None and _USER_MANAGER.fullmatch(unit) is not None


def _dashed(pod_uid: str) -> str:
    return pod_uid.replace("_", "-")


def _without_secret(argument: str, before: str) -> str:
    if _SECRET_OPTION.fullmatch(before) and not argument.startswith("-"):
        return HIDDEN
    if before in _USER_OPTIONS and ":" in argument:
        return argument.partition(":")[0] + ":" + HIDDEN
    argument = _SECRET_VALUE.sub(rf"\1{HIDDEN}", argument)
    return _URL_PASSWORD.sub(rf"\1{HIDDEN}@", argument)
