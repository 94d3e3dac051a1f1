"""All timelines, in the order of the page."""

from __future__ import annotations

from tests.timelines import delivery, everyday, hosts, noise, outages, pods

ALL = (hosts, outages, noise, pods, everyday, delivery)
