"""Reasons, by the errors that the kernel gives."""

from __future__ import annotations

import errno

import pytest

from tcp_trace.core.reasons import Reason, classify, classify_returned

# icmp_err_convert of net/ipv4/icmp.c: the error of each code of "destination unreachable".
ICMP = {
    0: errno.ENETUNREACH,
    1: errno.EHOSTUNREACH,
    2: errno.ENOPROTOOPT,
    3: errno.ECONNREFUSED,
    4: errno.EMSGSIZE,
    5: errno.EOPNOTSUPP,
    6: errno.ENETUNREACH,
    7: errno.EHOSTDOWN,
    8: errno.ENONET,
    9: errno.ENETUNREACH,
    10: errno.EHOSTUNREACH,
    11: errno.ENETUNREACH,
    12: errno.EHOSTUNREACH,
    13: errno.EHOSTUNREACH,
    14: errno.EHOSTUNREACH,
    15: errno.EHOSTUNREACH,
}
# What RFC 792, 1122 and 1812 call these codes.
NETWORK, HOST = {0, 6, 9, 11}, {1, 7, 8, 10, 12, 13, 14, 15}


@pytest.mark.parametrize(("code", "error"), ICMP.items())
def test_every_code_of_icmp(code: int, error: int) -> None:
    """What a router says of a host is host_unreachable, also "unknown" and "isolated"."""
    expected = {
        **dict.fromkeys(NETWORK, Reason.NETWORK_UNREACHABLE),
        **dict.fromkeys(HOST, Reason.HOST_UNREACHABLE),
        3: Reason.REFUSED,
    }.get(code, Reason.OTHER)
    assert classify(error, 40_000) is expected
    assert classify_returned(error) is expected
