"""Why an attempt failed: a closed set of reasons, decided only here.

To add a reason: give it a member here with its two sentences, and let `classify` return it. The
kernel's side was measured: the `sk_err` of each case at the moment a socket in SYN_SENT is closed.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Literal, NamedTuple


class Evidence(NamedTuple):
    """How an attempt failed: its error (0 for none), duration in seconds, and number of SYNs sent.

    `elapsed` is None if the beginning was not seen.
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
        """The kind of subject that fails for this reason."""
        return "destination"

    def describe(self, evidence: Evidence, *, in_full: bool) -> str:
        """Return the summary; with details if all evidence is of one attempt."""
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
    Reason.OTHER: ("failed", "See the errno; if there is none, the error that connect() returned."),
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

    With `sk_err` 0, the socket got no error. If a SYN was sent, the application closed the socket
    before any answer. If none was sent, connect() gave up: it found no free local port (the port is
    still 0), or failed with an error that only its caller got. For one ICMP message
    (administratively prohibited) IPv6 sets EACCES and IPv4 EHOSTUNREACH: both mean a machine on the
    way.
    """
    if sk_err == 0:
        if syns:
            return Reason.CANCELLED
        return Reason.OTHER if local_port else Reason.NO_LOCAL_PORT
    if sk_err == errno.EACCES:
        return Reason.HOST_UNREACHABLE
    return _BY_ERRNO.get(sk_err, Reason.OTHER)


def classify_returned(error: int, *, begun: bool) -> Reason:
    """Return the reason of a connect() that returned this errno without any remote answer.

    Before connect() looks for a local port (`begun` is still False), EADDRNOTAVAIL means that this
    host has no source address. ECONNREFUSED is SELinux, which drops the SYN on its way out.
    """
    if error == errno.EADDRNOTAVAIL and not begun:
        return Reason.NETWORK_UNREACHABLE
    if error == errno.ECONNREFUSED:
        return Reason.NOT_PERMITTED
    return _BY_ERRNO.get(error, Reason.OTHER)


def errno_name(number: int) -> str:
    """Return `ECONNREFUSED` for 111, `errno 999` for a number without a name."""
    return errno.errorcode.get(number, f"errno {number}")


def _details(evidence: Evidence) -> str:
    if evidence.syns == 0:
        return " (no SYN was sent)"  # no SYN, no waiting time
    details = []
    if evidence.elapsed is not None:
        # Milliseconds distinguish a firewall that rejects on the way from a host that answers
        # itself.
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
