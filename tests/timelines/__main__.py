"""Run timelines, or write their page: `python3 -m tests.timelines [--write] [PART OF A NAME]`."""

from __future__ import annotations

import argparse
import logging

from tests.timelines import page
from tests.timelines.timeline import TIMELINES


def main() -> None:
    """Write docs/CALM.md, or show what people would hear."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.timelines", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {page.PAGE.name}")
    parser.add_argument("--seed", type=int, default=0, help="of chance; default: 0")
    parser.add_argument("name", nargs="?", default="", help="show those with this in their name")
    arguments = parser.parse_args()
    logging.disable()  # a webhook that is away is logged with every try
    if arguments.write:
        page.PAGE.write_text(page.written(page.PAGE.read_text()))
        return
    for timeline in TIMELINES.values():
        if arguments.name in timeline.name:
            broken = timeline.broken(arguments.seed)
            print(f"{timeline.name}\n{timeline.run(arguments.seed).heard}")
            print(f"  {'; '.join(broken) or 'as wanted'}\n")


main()
