"""Reasons, by the errors that the kernel gives."""

from __future__ import annotations

import errno

import pytest

from tcp_trace.connects.reasons import Reason, classify, classify_returned

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
    assert classify(error, 40_000, 1) is expected


@pytest.mark.parametrize(
    ("local_port", "syns", "expected"),
    [(40_000, 1, Reason.CANCELLED), (40_000, 0, Reason.OTHER), (0, 0, Reason.NO_LOCAL_PORT)],
)
def test_no_error(local_port: int, syns: int, expected: Reason) -> None:
    """Only who sent a SYN was given up by the application; who sent none, by connect()."""
    assert classify(0, local_port, syns) is expected


@pytest.mark.parametrize(
    ("error", "begun", "expected"),
    [
        (errno.ENETUNREACH, False, Reason.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, False, Reason.HOST_UNREACHABLE),
        (errno.EACCES, False, Reason.NOT_PERMITTED),
        (errno.EADDRNOTAVAIL, False, Reason.NETWORK_UNREACHABLE),
        (errno.EADDRNOTAVAIL, True, Reason.NO_LOCAL_PORT),
        (errno.ECONNREFUSED, True, Reason.NOT_PERMITTED),
        (errno.ENOBUFS, True, Reason.OTHER),
    ],
)
def test_returned(error: int, begun: bool, expected: Reason) -> None:  # noqa: FBT001
    """What connect() returns is this host's own doing: nobody was asked yet."""
    assert classify_returned(error, begun=begun) is expected
