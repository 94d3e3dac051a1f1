"""Why an attempt failed: one closed set, and the one place that decides it.

To add a reason: give it a member here with its two sentences, and let `classify` return it.
The kernel's side of each case was measured: which errno `sk_err` holds at the moment a socket in
SYN_SENT is closed.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Literal, NamedTuple


class Evidence(NamedTuple):
    """How an attempt failed: its error (0 for none), seconds that it took, and SYNs it sent.

    `elapsed` is None where the beginning was not seen.
    """

    errno: int = 0
    elapsed: float | None = None
    syns: int = 0


class Reason(Enum):
    """A reason: the value is its name in logs; `summary` and `check_first` are for people."""

    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    HOST_UNREACHABLE = "host_unreachable"
    NETWORK_UNREACHABLE = "network_unreachable"
    NOT_PERMITTED = "not_permitted"
    NO_LOCAL_PORT = "no_local_port"
    RESET = "reset"
    OTHER = "other"

    @property
    def summary(self) -> str:
        """The reason in a few words that end a sentence."""
        return _WORDS[self][0]

    @property
    def check_first(self) -> str:
        """Advice: the first thing to look at."""
        return _WORDS[self][1]

    @property
    def kind(self) -> Literal["destination"]:
        """What it is said of."""
        return "destination"

    def describe(self, evidence: Evidence, *, in_full: bool) -> str:
        """Return the summary; with the details where all of the evidence is of one attempt."""
        named = f" ({errno_name(evidence.errno)})" if self is Reason.OTHER else ""
        return self.summary + named + (_details(evidence) if in_full else "")


_WORDS: dict[Reason, tuple[str, str]] = {
    Reason.REFUSED: (
        "connection refused",
        "Is the service running and listening on that port? A firewall may also reject.",
    ),
    Reason.TIMED_OUT: (
        "timed out: no answer to any SYN",
        "A firewall that drops, a host that is down, or a wrong route.",
    ),
    Reason.CANCELLED: (
        "given up by the application before any answer",
        "A firewall that drops, or a connect timeout in the application that is too short.",
    ),
    Reason.HOST_UNREACHABLE: (
        "host unreachable",
        "Is the host up? A router or firewall on the way answered for it.",
    ),
    Reason.NETWORK_UNREACHABLE: (
        "network unreachable",
        "Is there a route to that network (ip route get ADDRESS)?",
    ),
    Reason.NOT_PERMITTED: (
        "not permitted by this host",
        "A route that prohibits (ip route get ADDRESS), or a security policy of this host.",
    ),
    Reason.NO_LOCAL_PORT: (
        "no free local port",
        "Are ephemeral ports used up (ss -s; net.ipv4.ip_local_port_range), or a fixed one in use?",
    ),
    Reason.RESET: (
        "reset by the peer during the handshake",
        "A middlebox or an overloaded peer resets connections.",
    ),
    Reason.OTHER: ("failed", "See the errno; without one, what connect() told the application."),
}

_BY_ERRNO: dict[int, Reason] = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reason.HOST_UNREACHABLE,  # ICMP: host unknown
    errno.ENONET: Reason.HOST_UNREACHABLE,  # ICMP: host isolated
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE,
    errno.EACCES: Reason.NOT_PERMITTED,
    errno.EPERM: Reason.NOT_PERMITTED,
    errno.EADDRNOTAVAIL: Reason.NO_LOCAL_PORT,
    errno.ECONNRESET: Reason.RESET,
}


def classify(sk_err: int, local_port: int, syns: int) -> Reason:
    """Return the reason of a SYN_SENT socket closed with this `sk_err`, port and number of SYNs.

    An error of 0 means that nobody told the socket of an error. Where a SYN was sent, the
    application closed it before any answer came. Where none was, connect() gave up: it found no
    free local port (then the port is still 0), or something that only its caller was told of.
    IPv6 makes EACCES of the ICMP message (administratively prohibited) that IPv4 makes
    EHOSTUNREACH of: both came from a machine on the way.
    """
    if sk_err == 0:
        if syns:
            return Reason.CANCELLED
        return Reason.OTHER if local_port else Reason.NO_LOCAL_PORT
    if sk_err == errno.EACCES:
        return Reason.HOST_UNREACHABLE
    return _BY_ERRNO.get(sk_err, Reason.OTHER)


def classify_returned(error: int, *, begun: bool) -> Reason:
    """Return the reason of a connect() that returned this errno without an answer from afar.

    Before it looks for a local port (`begun` is not so yet), EADDRNOTAVAIL means that this host
    has no address to come from. ECONNREFUSED is SELinux, which drops the SYN on its way out.
    """
    if error == errno.EADDRNOTAVAIL and not begun:
        return Reason.NETWORK_UNREACHABLE
    if error == errno.ECONNREFUSED:
        return Reason.NOT_PERMITTED
    return _BY_ERRNO.get(error, Reason.OTHER)


def errno_name(number: int) -> str:
    """Return `ECONNREFUSED` for 111; the bare number in words where it has no name."""
    return errno.errorcode.get(number, f"errno {number}")


def _details(evidence: Evidence) -> str:
    if evidence.syns == 0:
        return " (no SYN was sent)"  # so nothing was waited for
    details = []
    if evidence.elapsed is not None:
        # Milliseconds tell a rejecting firewall on the way from a host that answers itself.
        details.append(f"after {short_span(evidence.elapsed)}")
    if evidence.syns > 1:
        details.append(f"{evidence.syns} SYNs")
    return f" ({', '.join(details)})" if details else ""


def short_span(seconds: float) -> str:
    """Return the time that a connect took: `0.4 ms`, `127.0 s`."""
    if seconds < 0.0001:
        return "less than 0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
