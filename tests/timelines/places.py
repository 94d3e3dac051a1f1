"""Who connects, and where to: names for the worlds' cast."""

from __future__ import annotations

from typing import NamedTuple

from tcp_trace.connects.events import Destination, Process
from tcp_trace.connects.maker import Maker

_HOST_NETNS = 4_026_531_840
_FIRST_PID = 1_000


class Program(NamedTuple):
    """A program of a unit, with its user."""

    process: Process
    maker: Maker


def program(name: str, number: int = 0, unit: str | None = None) -> Program:
    """Return the program of this name, in a unit of its own unless one is given."""
    unit = unit or f"{name}.service"
    owner = sum(ord(letter) * 31**at for at, letter in enumerate(unit)) % 1_000_003
    process = Process(_FIRST_PID + owner % 30_000 + number, name, 33, owner, _HOST_NETNS)
    return Program(process, Maker("www-data", unit, owner=owner))


def programs(count: int, name: str = "service") -> list[Program]:
    """Return so many programs, each of a unit of its own."""
    return [program(f"{name}-{number}", number) for number in range(count)]


def places(
    count: int, network: str = "10.1", ports: tuple[int, ...] = (443, 8080, 6379, 9092)
) -> list[Destination]:
    """Return so many destinations of a /16, spread over its /24, with these ports in turn."""
    return [
        Destination(f"{network}.{number % 16}.{10 + number // 16}", ports[number % len(ports)])
        for number in range(count)
    ]


APP = program("gunicorn", unit="shop.service")
DATABASE = Destination("10.0.12.7", 5432)
