"""The file that `ROUTES_FILE` names: further webhooks, and routes to them.

    [webhook.database]                      # a name for logs and metrics
    url_file = "/etc/tcp-trace/database"    # or url = "https://...", or credential = "database"
    type = "slack"                          # Mattermost, Rocket.Chat; else "json", "alertmanager"

    [[route]]                               # the first route that matches decides
    to = ["database", "default"]            # default is SLACK_URL, and gets what matches no route
    destinations = ["10.0.0.0/8:5432", "*.db.example.com"]
    units = ["postgresql*.service"]
    reasons = ["refused", "timed_out"]
    min_severity = "critical"               # info, warning or critical
    messages = "incidents"                  # or digest: that of a day; default: all
    runbook = "https://wiki.example.org/db" # shown in these messages

It is TOML. All errors are reported at once, each with file, place and field, none with a secret.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tcp_trace.incidents.notification import Severity
from tcp_trace.incidents.topics import cause_names
from tcp_trace.notify.receivers import DEFAULT_TYPE, RECEIVERS
from tcp_trace.notify.routing import DEFAULT, Messages, Route
from tcp_trace.safetext import PATH_LIMIT, brief
from tcp_trace.settings import textfile, values
from tcp_trace.settings.tablereader import NAME_LIMIT, TableReader, shown
from tcp_trace.settings.values import Secret, did_you_mean
from tcp_trace.silences.match import parse_identifier, parse_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcp_trace.notify.receivers.receiver import Receiver

MOST_WEBHOOKS = 8
"""Each has a thread, and one more while it sends; the unit allows 32 tasks."""

NO_CREDENTIAL = "credential: systemd gave none; add LoadCredential= to the unit"

# What could end a link, or begin markup, where the URL is shown.
_MARKUP = frozenset(' <>|"`')
_SOURCES = ("url", "url_file", "credential")
_WEBHOOK_FIELDS = ("type", *_SOURCES)
_ROUTE_FIELDS = (
    "to", "destinations", "units", "pods", "containers", "reasons", "min_severity", "messages",
    "runbook",
)  # fmt: skip
_RUNBOOK_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Webhook:
    """A place to send to; `name` is unique, `type` one of RECEIVERS, the URL a secret."""

    name: str
    type: str
    url: Secret


@dataclass(frozen=True, slots=True)
class Routes:
    """A whole file. Where one is wrong, `errors` has sentences, else `warnings` may have some."""

    webhooks: tuple[Webhook, ...] = ()
    routes: tuple[Route, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load(path: Path, credentials: Path | None, place: str = "") -> Routes:
    """Read the file; `credentials` is where systemd put the unit's credentials, None for nowhere.

    Never raises: see `errors`. `place` (file and line) named the file; an error that it cannot be
    read begins with it.
    """
    import tomllib  # noqa: PLC0415 - only where there is such a file

    shown = brief(path, PATH_LIMIT)
    try:
        data = tomllib.loads(textfile.read(path))
    except textfile.TextFileError as error:
        return Routes(errors=(f"{place}ROUTES_FILE={shown}: {error}",))
    except RecursionError:
        return Routes(errors=(f"{shown}: is not TOML: it is nested too deeply",))
    except ValueError as error:
        # Its text names a place, the expected syntax, and at most one character of the file.
        return Routes(errors=(f"{shown}: is not TOML: {error}",))
    return _Reader(path, credentials).read(data)


class _Reader(TableReader):
    """Reads one file, and goes on after an error."""

    def __init__(self, path: Path, credentials: Path | None) -> None:
        super().__init__(path)
        self._credentials = credentials

    def read(self, data: Mapping[str, Any]) -> Routes:
        self.refuse_unknown("", data, ("webhook", "route"))
        webhooks = tuple(self._webhooks(data.get("webhook", {})))
        declared = data["webhook"] if isinstance(data.get("webhook"), dict) else {}
        routes = tuple(self._routes(data.get("route", []), [*declared, DEFAULT]))
        if not self.errors:
            self._compare(webhooks, routes)
        if self.errors:
            return Routes(errors=tuple(self.errors))
        return Routes(webhooks, routes, warnings=tuple(self.warnings))

    def _webhooks(self, tables: object) -> Iterator[Webhook]:
        if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
            self.complain("webhook", "not a table; write [webhook.NAME]")
            return
        if len(tables) > MOST_WEBHOOKS:
            self.complain("webhook", f"{len(tables)} are too many; at most {MOST_WEBHOOKS}")
        for name, table in tables.items():
            where = f"webhook {shown(name)}"
            if name == DEFAULT:
                self.complain(where, "the name is taken by SLACK_URL; choose another one")
            elif not (name.isprintable() and 0 < len(name) <= NAME_LIMIT):
                self.complain(where, f"not a printable name of at most {NAME_LIMIT} characters")
            self.refuse_unknown(where, table, _WEBHOOK_FIELDS)
            receiver = self._receiver(where, table)
            url = self._url(where, table, receiver)
            if receiver and url:
                yield Webhook(name, receiver.NAME, url)

    def _receiver(self, where: str, table: Mapping[str, Any]) -> Receiver | None:
        found = table.get("type", DEFAULT_TYPE)
        if isinstance(found, str) and found in RECEIVERS:
            return RECEIVERS[found]
        known = ", ".join(RECEIVERS)
        self.complain(where, f"type: not one of the types; write one of {known}")
        return None

    def _url(
        self, where: str, table: Mapping[str, Any], receiver: Receiver | None
    ) -> Secret | None:
        given = [source for source in _SOURCES if source in table]
        if len(given) != 1:
            found = " and ".join(given) or "no address"
            self.complain(where, f"{found}; write one of url, url_file and credential")
            return None
        (source,) = given
        shown, text = source, table[source]
        if not isinstance(text, str):
            self.complain(where, f"{source}: not a text; put it in quotes")
            return None
        if source == "url":
            self._warn_if_public(self.path)
        else:
            shown = f"{source}={brief(text, PATH_LIMIT)}"  # which is no secret where it can be read
            text = self._from_file(where, source, text)
        return None if text is None else self._parse_url(where, shown, text.strip(), receiver)

    def _from_file(self, where: str, source: str, text: str) -> str | None:
        if source == "credential" and self._credentials is None:
            self.complain(where, NO_CREDENTIAL)
            return None
        path = Path(self._credentials or "/", text)
        if source == "credential" and Path(text).name != text:
            self.complain(where, "credential: not a name, but a path; write url_file")
            return None
        if source == "url_file" and not Path(text).is_absolute():
            self.complain(where, "url_file: not an absolute path")
            return None
        try:
            found = textfile.read(path)
        except textfile.TextFileError as error:
            # A URL put here by mistake must not be shown: its path leads nowhere.
            is_path = source == "url_file" and os.path.isdir(path.parent)  # noqa: PTH112 - never raises
            shown = f"={brief(path, PATH_LIMIT)}" if is_path else ""
            self.complain(where, f"{source}{shown}: {error}")
            return None
        if source == "url_file":
            self._warn_if_public(path)
        return found

    def _parse_url(
        self, where: str, source: str, text: str, receiver: Receiver | None
    ) -> Secret | None:
        try:
            return Secret((receiver or RECEIVERS[DEFAULT_TYPE]).address(text))
        except ValueError as error:
            self.complain(where, f"{source}: {error}")
            return None

    def _routes(self, tables: object, known: list[str]) -> Iterator[Route]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.complain("route", "not a list of tables; write [[route]]")
            return
        for number, table in enumerate(tables, 1):
            where = f"route {number}"
            self.refuse_unknown(where, table, _ROUTE_FIELDS)
            to = self.texts(where, table, "to")
            if not to:
                self.complain(where, 'to: names no webhook; write for example to = ["default"]')
            for name in to:
                if name not in known:
                    hint = did_you_mean(name.lower(), known)
                    self.complain(where, f"to: no webhook is called {shown(name)}; {hint}")
            yield Route(
                to,
                tuple(self._rules(where, table)),
                self.texts(where, table, "units"),
                frozenset(self._reasons(where, table)),
                self.choice(where, table, "min_severity", Severity, Severity.INFO),
                self.choice(where, table, "messages", Messages, Messages.ALL),
                self._runbook(where, table),
                tuple(self._identifiers(where, table, "pod")),
                tuple(self._identifiers(where, table, "container")),
            )

    def _runbook(self, where: str, table: Mapping[str, Any]) -> str:
        found = table.get("runbook", "")
        if found == "":
            return ""
        if isinstance(found, str) and len(found) <= _RUNBOOK_LIMIT and found.isprintable():
            with suppress(ValueError):
                url = urlsplit(found)
                if url.scheme in {"http", "https"} and url.hostname and not set(found) & _MARKUP:
                    return found
        self.complain(
            where, "runbook: not a URL; write for example https://wiki.example.org/database"
        )
        return ""

    def _rules(self, where: str, table: Mapping[str, Any]) -> Iterator[Any]:
        for text in self.texts(where, table, "destinations"):
            try:
                yield from parse_places(text)
            except ValueError as error:
                self.complain(where, f"destinations: {error}")

    def _identifiers(self, where: str, table: Mapping[str, Any], what: str) -> Iterator[str]:
        for text in self.texts(where, table, f"{what}s"):
            try:
                yield parse_identifier(text, what)
            except ValueError as error:
                self.complain(where, f"{what}s: {error}")

    def _reasons(self, where: str, table: Mapping[str, Any]) -> Iterator[str]:
        known = cause_names()
        for text in self.texts(where, table, "reasons"):
            if text in known:
                yield text
            else:
                hint = did_you_mean(text.lower(), known)
                self.complain(where, f"reasons: {shown(text)} is no reason; {hint}")

    def _compare(self, webhooks: tuple[Webhook, ...], routes: tuple[Route, ...]) -> None:
        by_url: dict[str, str] = {}
        used = {name for route in routes for name in route.to}
        for webhook in webhooks:
            same = by_url.setdefault(webhook.url.reveal(), webhook.name)
            if same != webhook.name:
                self.complain(
                    f"webhook {webhook.name}", f"has the address of webhook {same}; use that one"
                )
            if webhook.name not in used:
                self.warnings.append(f"{self.path}: no route leads to webhook {webhook.name}")
        for number, route in enumerate(routes[:-1], 1):
            if not route.is_conditional and route.messages is Messages.ALL:
                self.warnings.append(
                    f"{self.path}: route {number} matches everything; none after it is used"
                )

    def _warn_if_public(self, path: Path) -> None:
        warning = values.public_secret(path)
        if warning and warning not in self.warnings:
            self.warnings.append(warning)
