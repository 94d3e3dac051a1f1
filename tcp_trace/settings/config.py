"""The configuration, read in one place; all errors are reported at once.

A variable comes from the process environment, else from the env file, else from its default; an
empty value is as good as none. The webhook comes from the first of

1. `SLACK_URL` in the process environment,
2. `SLACK_URL` in the env file,
3. the file that `SLACK_URL_FILE` names,
4. the systemd credential `slack_url` (`LoadCredential=slack_url:/path`).

The env file is read here by python-dotenv and not by systemd's `EnvironmentFile=`, so that a reload
sees a changed file. `${X}` in it is not expanded.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcp_trace.connects.watch import (
    ADDRESSES_MAX,
    EVERYTHING,
    RULES_MAX,
    Host,
    Rule,
    parse_destinations,
    parse_hosts,
)
from tcp_trace.safetext import PATH_LIMIT, brief, isolated, visible
from tcp_trace.settings import envfile, routes, textfile, values
from tcp_trace.settings.envfile import Given
from tcp_trace.settings.values import (
    Address,
    AlertAfter,
    Events,
    Hook,
    LogFormat,
    LogLevel,
    LostRaces,
    Secret,
)
from tcp_trace.settings.variables import VARIABLES, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.notify.routing import Route
    from tcp_trace.settings.routes import Webhook
    from tcp_trace.silences.maintenance import Window

__all__ = [
    "AlertAfter",
    "ConfigError",
    "Events",
    "Hook",
    "LogFormat",
    "LogLevel",
    "LostRaces",
    "Rule",
    "Secret",
    "Settings",
    "load",
]

CREDENTIAL = "slack_url"
ERRORS_MAX = 20
"""Errors shown at once: a file of another kind has one in each line."""

NAMELESS = "unnamed host"
"""The name in messages of a host that has none."""

# A longer value is not repeated in an error: it would hide the reason, which comes last.
_VALUE_SHOWN = 80


class ConfigError(Exception):
    """The configuration cannot be used. `errors` are sentences, none of which holds a secret.

    Each begins with the file and the line that it is about, and names the variable or the key; one
    that begins with a variable is about the environment.
    """

    def __init__(self, errors: list[str]) -> None:
        more = len(errors) - ERRORS_MAX
        self.errors = errors if more <= 0 else [*errors[:ERRORS_MAX], f"and {more:,} more errors"]
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that can be configured, validated. Durations are seconds.

    `slack_url` is None where no webhook is set: failures are then only logged, unless a route
    leads them to one of `webhooks`. `warnings` are sentences for the log: the configuration works,
    but probably not as meant. `dest_ip` has the addresses and networks to watch, `dest_host` the
    host names, whichever of the two variables they were given in.
    """

    slack_url: Secret | None
    dest_ip: tuple[Rule, ...]
    dest_host: tuple[Host, ...]
    dns_names: bool
    events: Events
    hook: Hook
    lost_races: LostRaces
    ring_mb: int
    alert_interval: float
    alert_after: AlertAfter
    alert_down: AlertAfter
    digest: int | None
    alert_repeat: float
    resolve_after: float
    alert_mention: str | None = None
    maintenance: tuple[Window, ...] | None = None
    metrics: Address | None = None
    metrics_destinations: int = 0
    log_format: LogFormat
    log_level: LogLevel
    state_dir: Path
    service_user: str
    host_name: str
    webhooks: tuple[Webhook, ...] = ()
    routes: tuple[Route, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The webhooks: no output may show them."""
        own = (self.slack_url,) if self.slack_url else ()
        return (*own, *(webhook.url for webhook in self.webhooks))


def load(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    """Return the settings of a process environment and an env file.

    Raises ConfigError with all errors: an unreadable file, unknown variables in the file (the
    environment has many that are none of ours), values that cannot be parsed.
    """
    errors: list[str] = []
    warnings: list[str] = []
    from_file = envfile.read(env_file, errors) if env_file else {}
    from_environ = {name: Given(text, "") for name, text in environ.items()}
    given = {**_set(_from_host(environ)), **_set(from_file), **_set(from_environ)}
    if "HOST_NAME" not in given:
        given["HOST_NAME"] = Given(NAMELESS, "")
        warnings.append(f"this host has no name: messages call it {NAMELESS}; set HOST_NAME")
    warnings += [
        f"{given[old].place}{old} is gone; {new}"
        for old, new in envfile.GONE.items()
        if old in given
    ]
    slack_url = _find_webhook(given, environ, errors, warnings)
    if env_file and "SLACK_URL" in _set(from_file):
        _warn_if_public(env_file, warnings)
    parsed = {
        item.name.lower(): _parse(item, given.get(item.name), errors)
        for item in VARIABLES
        if item.name != "SLACK_URL"
    }
    del parsed["slack_url_file"]
    place = given["ROUTES_FILE"].place if "ROUTES_FILE" in given else ""
    routed = _read_routes(parsed.pop("routes_file"), place, environ, errors, warnings)
    if errors:
        raise ConfigError(errors)
    rules, hosts = _watched((*parsed.pop("dest_ip"), *parsed.pop("dest_host")), given)
    return Settings(
        **parsed,
        slack_url=slack_url,
        dest_ip=rules,
        dest_host=hosts,
        webhooks=routed.webhooks,
        routes=routed.routes,
        warnings=tuple(warnings),
    )


def _watched(
    wanted: tuple[Rule | Host, ...], given: Mapping[str, Given]
) -> tuple[tuple[Rule, ...], tuple[Host, ...]]:
    """Return what is watched by address and by name, each once: everything where nothing is set."""
    watched = dict.fromkeys(wanted) or (EVERYTHING,)
    rules = tuple(one for one in watched if isinstance(one, Rule))
    hosts = tuple(one for one in watched if isinstance(one, Host))
    if len(rules) + ADDRESSES_MAX * len(hosts) > RULES_MAX:
        most = RULES_MAX // ADDRESSES_MAX
        place = next(given[name].place for name in ("DEST_HOST", "DEST_IP") if name in given)
        why = f"{len(hosts)} hosts are too many; {most} at most"
        raise ConfigError([f"{place}DEST_IP, DEST_HOST: {why}"])
    return rules, hosts


def _from_host(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the defaults that depend on where the service runs."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return {"HOST_NAME": Given(_kernels_name(), ""), "STATE_DIR": Given(state, "")}


def _kernels_name() -> str:
    """Return the name that the kernel has for this host, made visible; empty where it has none.

    sethostname(2) takes any bytes, and `(none)` is what the kernel is built with.
    """
    name = visible(socket.gethostname())[: values.HOST_NAME_LIMIT]
    return "" if name == "(none)" or "://" in name else name


def _set(given: Mapping[str, Given]) -> dict[str, Given]:
    """Return the variables that have a value: a blank one is as good as none."""
    return {name: one for name, one in given.items() if one.text.strip()}


def _parse(item: Variable, given: Given | None, errors: list[str]) -> Any:  # noqa: ANN401
    text, place = given or ("", "")
    text = text.strip() or item.default
    if not text and item.parse not in (parse_destinations, parse_hosts):
        return None
    if "://" in text and not item.secret:
        why = "holds a URL, which is not shown; SLACK_URL takes the webhook"
        errors.append(f"{place}{item.name}: {why}")
        return None
    try:
        return item.parse(text)
    except ValueError as error:
        value = visible(text)
        shown = "" if item.secret or len(value) > _VALUE_SHOWN else f"={isolated(value)}"
        errors.append(f"{place}{item.name}{shown}: {error}")
        return None


def _read_routes(
    path: Path | None,
    place: str,
    environ: Mapping[str, str],
    errors: list[str],
    warnings: list[str],
) -> routes.Routes:
    if path is None:
        return routes.Routes()
    directory = environ.get("CREDENTIALS_DIRECTORY")
    found = routes.load(path, Path(directory) if directory else None, place)
    errors += found.errors
    warnings += found.warnings
    return found


def _find_webhook(
    given: Mapping[str, Given],
    environ: Mapping[str, str],
    errors: list[str],
    warnings: list[str],
) -> Secret | None:
    """Return the webhook from the first source that has one."""
    sources: dict[str, Given] = {}
    if "SLACK_URL" in given:
        sources["SLACK_URL"] = given["SLACK_URL"]
    named, place = given.get("SLACK_URL_FILE", ("", ""))
    named = named.strip()
    if named.startswith("/") and named.isprintable():  # else it is reported as no absolute path
        path, shown = Path(named), brief(named, PATH_LIMIT)
        text = _read_webhook(path, f"{place}SLACK_URL_FILE={shown}", errors)
        sources["SLACK_URL_FILE"] = Given(text, f"{shown}: ")
        _warn_if_public(path, warnings)
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(directory, CREDENTIAL)
        if path.exists():
            text = _read_webhook(path, f"the credential {CREDENTIAL}={path}", errors)
            sources["the credential"] = Given(text, f"{path}: ")
    used = [source for source, found in sources.items() if found.text.strip()]
    if len(used) > 1:
        warnings.append(f"the webhook is set by {' and by '.join(used)}; {used[0]} is used")
    if not used:
        return None
    text, place = sources[used[0]]
    try:
        return values.slack_url(text.strip())
    except ValueError as error:
        errors.append(f"{place}{used[0]}: {error}")
        return None


def _read_webhook(path: Path, source: str, errors: list[str]) -> str:
    """Return what a file holds; errors begin with the `source` that names it."""
    try:
        text = textfile.read(path).strip()
    except textfile.TextFileError as error:
        errors.append(f"{source}: {error}")
        return ""
    if not text:
        errors.append(f"{source}: is empty; put the webhook's URL into it")
    return text


def _warn_if_public(path: Path, warnings: list[str]) -> None:
    if warning := values.public_secret(path):
        warnings.append(warning)
