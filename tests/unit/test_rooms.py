"""Imports point one way: from a room to those before it, and never in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "tcp_trace"

# What belongs to no room may be imported by all, and imports none.
ROOMS = (
    *("kernel", "connects", "host", "incidents", "silences", "notify", "settings", "log"),
    *("probes", "views", "service", "commands"),
)


def modules() -> dict[str, Path]:
    """Return every module by its dotted name below the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports of the package, whether for running or for its types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tcp_trace":
            base = (node.module or "").removeprefix("tcp_trace").removeprefix(".")
            for name in node.names:
                whole = f"{base}.{name.name}".removeprefix(".")
                yield whole if whole in MODULES else base
        elif isinstance(node, ast.Import):
            yield from (
                name.name.removeprefix("tcp_trace.")
                for name in node.names
                if name.name.startswith("tcp_trace.")
            )


MODULES = modules()
GRAPH = {name: {of for of in imported(path) if of} for name, path in MODULES.items()}


def room_of(module: str) -> str:
    """Return the room of a module, empty for one that is in none."""
    first = module.partition(".")[0]
    return first if first in ROOMS else ""


def test_every_folder_is_a_room() -> None:
    """A new room has its place in the order."""
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ROOMS)


def test_a_room_imports_only_rooms_before_it() -> None:
    """For running or for types: both tie them together."""
    crossings = {
        (room_of(module), room_of(of))
        for module, others in GRAPH.items()
        for of in others
        if room_of(module) and room_of(of) and room_of(module) != room_of(of)
    }
    assert {(a, b) for a, b in crossings if ROOMS.index(b) > ROOMS.index(a)} == set()


def test_what_has_no_room_imports_none() -> None:
    """It is there for all."""
    loose = {name: others for name, others in GRAPH.items() if not room_of(name)}
    assert {(name, of) for name, others in loose.items() for of in others if room_of(of)} == {
        ("__main__", "commands.cli")
    }


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not even for types: two that need each other are one, or have a third between them."""
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
