"""What C and Python both know of a struct, an enum or a number is the same."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from tcp_trace import probes
from tcp_trace.connects.heard import LONGEST_SECONDS
from tcp_trace.kernel import source
from tcp_trace.kernel.shapes import Shape
from tcp_trace.probes import registry, shapes
from tcp_trace.probes.connectmaps import Tallies
from tcp_trace.settings import config

BPF = Path(__file__).parents[3] / "bpf"
C = re.sub(
    r"/\*.*?\*/",
    "",
    source.text_of((probe.source for probe in registry.PROBES), BPF),
    flags=re.DOTALL,
)
_PLAIN = {"u8": 1, "char": 1, "u16": 2, "u32": 4, "int": 4, "u64": 8}
_FIELD = re.compile(r"((?:struct |union )?\w+) (\w+)((?:\[\w+\])*);")
MODULES = [import_module(f"tcp_trace.probes.{m.name}") for m in iter_modules(probes.__path__)]
SHARED = {
    one.name: one
    for module in MODULES
    for one in vars(module).values()
    if isinstance(one, Shape) and re.search(rf"^struct {one.name} {{", C, re.MULTILINE)
}
NUMBERS = {name for name, value in vars(shapes).items() if isinstance(value, int)}


def defines() -> dict[str, int]:
    """Return every constant that is a number or made of others."""
    found: dict[str, int] = {}
    for name, value in re.findall(r"^#define (\w+)\s+([^\n\\]+)$", C, re.MULTILINE):
        plain = re.sub(r"(?<=[0-9a-fA-F])U?L*\b", "", value)
        if re.fullmatch(r"[\w\s()~*/+-]+", plain):
            try:
                found[name] = eval(plain, {}, found)  # noqa: S307 - of our own files
            except (NameError, SyntaxError):
                continue
    return found


DEFINES = defines()


def body(struct: str) -> str:
    """Return what stands in the braces of a struct or union."""
    (found,) = re.findall(rf"^{struct} {{\n(.*?)^}};", C, re.MULTILINE | re.DOTALL)
    return str(found)


def laid_out(struct: str) -> tuple[dict[str, int], int, int]:
    """Return the bytes of each field, of the whole, and what it is aligned to, as compilers do.

    There must be no padding between fields: it would be copied from the kernel's stack.
    """
    # Of a union without a name the first member counts, in Python's place for it.
    text = re.sub(r"union {\n(.*?;)\n.*?};", r"\1", body(struct), flags=re.DOTALL)
    sizes: dict[str, int] = {}
    offset, widest = 0, 1
    for kind, name, dimensions in _FIELD.findall(text):
        if kind in _PLAIN:
            size = align = _PLAIN[kind]
        else:
            _, size, align = laid_out(kind)
        for dimension in re.findall(r"\w+", dimensions):
            size *= int(dimension) if dimension.isdecimal() else DEFINES[dimension]
        assert offset % align == 0, f"{struct} has padding before {name}"
        sizes[name] = size
        offset = offset + size if struct.startswith("struct") else max(offset, size)
        widest = max(widest, align)
    assert offset % widest == 0, f"{struct} has padding at its end"
    return sizes, offset, widest


@pytest.mark.parametrize("name", SHARED)
def test_structs_are_those_of_the_c(name: str) -> None:
    """Fields, their order and sizes, and that of the whole."""
    sizes, whole, _ = laid_out(f"struct {name}")
    assert list(SHARED[name].sizes().items()) == list(sizes.items())
    assert SHARED[name].size == whole


def test_every_struct_of_a_map_or_record_that_is_read_is_shared() -> None:
    """What user space gets by a descriptor is in the list above."""
    given = {"METRICS": "127.0.0.1:9410", "METRICS_DESTINATIONS": "10"}
    settings = config.load(given, None)
    named = {name for probe in registry.PROBES for name in probe.maps(settings)}
    declared = re.findall(r"^BPF_\w+\((.*)\);", C, re.MULTILINE)
    used = {
        struct
        for line in declared
        if named & set(re.findall(r"\w+", line))
        for struct in re.findall(r"struct (\w+)", line)
    }
    assert used - {"rivals"} <= {*SHARED}
    assert laid_out("struct rivals")[1] == shapes.RIVAL.size * shapes.RIVALS


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_numbers_are_those_of_the_c(name: str) -> None:
    """Of each constant that both sides know."""
    assert DEFINES[name] == getattr(shapes, name)


def test_tallies_are_those_of_the_c() -> None:
    """One of Python's for each of the enum's, in its order."""
    (text,) = re.findall(r"^enum tally {\n(.*?)^};", C, re.MULTILINE | re.DOTALL)
    names = re.findall(r"\bTALLY_(\w+)", text)
    assert [name.lower() for name in names] == list(Tallies._fields)


def test_a_name_counts_as_long_on_both_sides() -> None:
    """Who keeps it and who chooses it agree."""
    assert DEFINES["LONGEST_SECONDS"] == LONGEST_SECONDS
