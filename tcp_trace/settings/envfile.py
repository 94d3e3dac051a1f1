"""The env file: `NAME=value` lines, read by python-dotenv."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.safetext import PATH_LIMIT, brief
from tcp_trace.settings import requirements, textfile
from tcp_trace.settings.values import did_you_mean
from tcp_trace.settings.variables import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path


GONE = {"PERF_PAGES": "remove it: RING_MB is the size of the one ring there is now"}
"""Variables of earlier versions, each with its replacement."""


class Given(NamedTuple):
    """The value of a variable, and the beginning of an error about it: `/etc/x.env, line 3: `."""

    text: str
    place: str


def read(path: Path, errors: list[str]) -> dict[str, Given]:
    """Return the variables set in an env file; add its mistakes to `errors`."""
    shown = brief(path, PATH_LIMIT)
    try:
        from dotenv.parser import parse_stream  # noqa: PLC0415 - only where there is such a file
    except ModuleNotFoundError as error:
        errors.append(f"{shown}: cannot be read: {requirements.sentence(error)}")
        return {}
    try:
        text = textfile.read(path)
    except textfile.TextFileError as error:
        errors.append(f"{shown}: {error}; see --env-file")
        return {}
    found: dict[str, Given] = {}
    for binding in parse_stream(io.StringIO(text)):
        read, line = binding.original
        blank = read[: len(read) - len(read.lstrip())].count("\n")
        where = f"{shown}, line {line + blank}"
        if binding.error or (binding.key is not None and binding.value is None):
            errors.append(f"{where}: not understood; write NAME=value")
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = Given(binding.value, f"{where}: ")
            if binding.key not in GONE:
                _refuse_unknown(binding.key, where, errors)
    return found


def _refuse_unknown(name: str, where: str, errors: list[str]) -> None:
    known = [item.name for item in VARIABLES]
    if name in known:
        return
    hint = did_you_mean(name.upper(), known)
    # A name can be a pasted secret (https://...=): only a plain word is repeated.
    shown = name if name.isidentifier() and len(name) <= 64 else "a name that is no plain word"
    errors.append(f"{where}: {shown} is unknown; {hint}")
