"""A peer that answers a SYN as no TCP of Linux does: crossing SYNs, resets in between, ICMP errors.

    ip netns exec NAMESPACE python3 -m tests.kernel.peer     # until its standard input ends

The port says how; a firewall keeps these ports from the kernel's own TCP.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections import deque
from ipaddress import ip_address
from typing import NamedTuple

CROSSED, CROSSED_SILENT, CROSSED_RESET, ICMP_PROBLEM = 32_000, 33_000, 34_000, 35_000
PORTS = (CROSSED, ICMP_PROBLEM + 999)
DELAY = 0.05
"""Seconds, as if it were far away: whoever connects is waiting by then."""

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_MY_SEQ = 1000
_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 3, 0x0800, 0x86DD
_SO_RCVBUFFORCE = 33
_TCP = struct.Struct("!HHIIBBHHH")  # sport dport seq ack offset flags window checksum urgent


class Segment(NamedTuple):
    """A TCP segment that came, and the packet that it came in."""

    version: int
    packet: bytes
    source: bytes
    destination: bytes
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int


def parse(packet: bytes, protocol: int) -> Segment | None:
    """Return the segment in a packet that begins with its IP header, None where there is none."""
    if protocol == _ETH_P_IP and packet[9] == socket.IPPROTO_TCP:
        version, at, ends = 4, (packet[0] & 15) * 4, (packet[12:16], packet[16:20])
    elif protocol == _ETH_P_IPV6 and packet[6] == socket.IPPROTO_TCP:
        version, at, ends = 6, 40, (packet[8:24], packet[24:40])
    else:
        return None
    sport, dport, seq, ack, _, flags, *_ = _TCP.unpack_from(packet, at)
    return Segment(version, packet, *ends, sport, dport, seq, ack, flags)


class Peer:
    """Answers segments, through raw sockets of both families."""

    def __init__(self) -> None:
        tcp, icmp, icmp6 = socket.IPPROTO_TCP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
        self._tcp = {4: _raw(socket.AF_INET, tcp), 6: _raw(socket.AF_INET6, tcp)}
        self._icmp = {4: _raw(socket.AF_INET, icmp), 6: _raw(socket.AF_INET6, icmp6)}

    def answer(self, segment: Segment) -> None:
        """Answer as the port says."""
        kind = segment.dport // 1000 * 1000
        if segment.flags & _FIN:
            self._send(segment, _RST, segment.ack, 0)
        elif segment.flags & (_SYN | _ACK) == _SYN:
            if kind == ICMP_PROBLEM:
                self._complain(segment)
                return
            self._send(segment, _SYN, _MY_SEQ, 0)
            if kind == CROSSED_RESET:
                self._send(segment, _RST, _MY_SEQ + 1, 0)
        elif segment.flags & _SYN and kind == CROSSED:
            self._send(segment, _ACK, _MY_SEQ + 1, segment.seq + 1)

    def _send(self, to: Segment, flags: int, seq: int, ack: int) -> None:
        fields = (to.dport, to.sport, seq, ack % 2**32, 5 << 4, flags, 65535)
        # The pseudo-header of IPv6; IPv4's has the same sum.
        pseudo = to.destination + to.source + struct.pack("!II", _TCP.size, socket.IPPROTO_TCP)
        checksum = internet_checksum(pseudo + _TCP.pack(*fields, 0, 0))
        self._tcp[to.version].sendto(_TCP.pack(*fields, checksum, 0), (_text(to.source), 0))

    def _complain(self, about: Segment) -> None:
        """Send "parameter problem", which quotes the packet; of IPv6 the kernel adds the sum."""
        kind = 12 if about.version == 4 else 4
        checksum = internet_checksum(struct.pack("!BBHI", kind, 0, 0, 0) + about.packet)
        message = struct.pack("!BBHI", kind, 0, checksum, 0) + about.packet
        self._icmp[about.version].sendto(message, (_text(about.source), 0))


def _raw(family: socket.AddressFamily, protocol: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_RAW, protocol)


def _text(address: bytes) -> str:
    return str(ip_address(address))


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def main() -> None:
    """Answer what comes until the standard input ends."""
    peer = Peer()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    sys.stdout.write("answering\n")
    sys.stdout.flush()
    waiting: deque[tuple[float, Segment]] = deque()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready = select.select([sys.stdin, wire], [], [], pause)[0]
        if sys.stdin in ready:
            return
        if wire in ready and (segment := receive(wire)):
            waiting.append((time.monotonic() + DELAY, segment))
        while waiting and waiting[0][0] <= time.monotonic():
            peer.answer(waiting.popleft()[1])


def receive(wire: socket.socket) -> Segment | None:
    """Return what came to the ports of this peer, None where it is for others."""
    packet, (_, protocol, kind, *_) = wire.recvfrom(65536)
    segment = parse(packet, protocol) if kind != socket.PACKET_OUTGOING else None
    return segment if segment and PORTS[0] <= segment.dport <= PORTS[1] else None


if __name__ == "__main__":
    main()
