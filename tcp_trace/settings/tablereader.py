"""Reads tables of a TOML file, and reports all that is wrong with them, each with its place."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from tcp_trace.safetext import PATH_LIMIT, brief
from tcp_trace.settings.values import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EnumT = TypeVar("EnumT", bound=Enum)
NAME_LIMIT = 40


class TableReader:
    """Goes on after an error: `errors` and `warnings` are sentences. `path` is the file's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def complain(self, where: str, sentence: str) -> None:
        """Report what is wrong in a place of the file, empty for the file as a whole."""
        self.errors.append(
            f"{brief(self.path, PATH_LIMIT)}{f', {where}' if where else ''}: {sentence}"
        )

    def choice(
        self, where: str, table: Mapping[str, Any], name: str, kind: type[EnumT], default: EnumT
    ) -> EnumT:
        """Return the member of `kind` whose value a field has."""
        found = table.get(name, default.value)
        known = {each.value: each for each in kind}
        if isinstance(found, str) and found in known:
            return known[found]
        hint = did_you_mean(str(found).lower(), list(known))
        self.complain(where, f"{name}: {shown(str(found))} is unknown; {hint}")
        return default

    def texts(self, where: str, table: Mapping[str, Any], name: str) -> tuple[str, ...]:
        """Return the texts of a field, which may be a single one."""
        found = table.get(name, [])
        found = [found] if isinstance(found, str) else found
        if isinstance(found, list) and all(isinstance(text, str) for text in found):
            return tuple(found)
        self.complain(where, f'{name}: not a list of texts; write {name} = ["...", "..."]')
        return ()

    def refuse_unknown(self, where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
        """Report the fields that are not known."""
        for name in table:
            if name not in known:
                hint = did_you_mean(name.lower(), list(known))
                self.complain(where, f"{shown(name)} is unknown; {hint}")


def shown(name: str) -> str:
    """Return a name, quoted; not one that may be a webhook's URL pasted in the wrong place."""
    plain = name.isprintable() and len(name) <= NAME_LIMIT and "/" not in name
    return f"'{name}'" if plain else "something that is no plain word"
