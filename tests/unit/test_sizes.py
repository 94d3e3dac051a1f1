"""How long a module and a function may be, and what an import may do."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODULE_LINES, FUNCTION_LINES = 300, 40
FOLDERS = ("tcp_trace", "tests", "benchmarks", "docs")

LONG_MODULES = {
    "tcp_trace/service/daemon.py": "the one loop that wires everything",
    "tests/kernel/test_names.py": "one service for all: each start costs seconds",
    "tests/vm/machine.py": "one machine, from boot to end",
}
"""Modules that may be longer, and why. One that is no more is to be taken out."""

# They open a library or a file that must be there for the module to mean anything.
_OPENS = {"CDLL", "open", "read_text", "read_bytes", "stat", "readlink", "run", "Popen"}


def modules() -> Iterator[tuple[str, str]]:
    """Return every module's path and text."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines without its docstring."""
    first = function.body[0]
    own = (function.end_lineno or 0) - function.lineno + 1
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        own -= (first.end_lineno or 0) - first.lineno + 1
    return own


def test_modules_are_short() -> None:
    """A longer one tells more than one story, unless there is a reason."""
    long = {path for path, text in modules() if len(text.splitlines()) > MODULE_LINES}
    assert long == set(LONG_MODULES)


def test_functions_are_short() -> None:
    """Without exception."""
    assert [
        f"{path}:{node.lineno} {node.name}: {length(node)} lines"
        for path, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length(node) > FUNCTION_LINES
    ] == []


def test_an_import_opens_nothing() -> None:
    """No library is loaded and no file is read before somebody needs it, but in `kernel/`."""
    found = []
    for path, text in modules():
        if not path.startswith("tcp_trace/") or path.startswith("tcp_trace/kernel/"):
            continue
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
                continue
            for node in ast.walk(statement):
                if isinstance(node, ast.Call):
                    called = node.func
                    name = called.attr if isinstance(called, ast.Attribute) else ""
                    name = called.id if isinstance(called, ast.Name) else name
                    if name in _OPENS:
                        found.append(f"{path}:{node.lineno} {name}")
    assert found == []
