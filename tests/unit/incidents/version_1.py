"""What version 1 of the program saved, when all that failed were connects (`version_1.json`).

The file was written by that version, when one incident had
recovered, two were open, one was silenced, and 23 destinations made a storm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences

SILENCES = Silences([Silence("s1", parse_match("10.0.0.101"), 0, 10_000_000_000)])


def saved() -> dict[str, Any]:
    """Return the file: `state`, and `notifications` by the names of the golden samples."""
    found: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return found
