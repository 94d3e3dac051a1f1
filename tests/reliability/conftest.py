"""As in the tests of units: no proxy leads to loopback."""

from tests.unit.conftest import without_proxies

__all__ = ["without_proxies"]
