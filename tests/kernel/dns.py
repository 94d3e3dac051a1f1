"""A name server for tests, answers of every kind, and programs that ask it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands.sandbox import SERVER, call_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[bytes, int], bytes]

DNS_PORT, HEADER_BYTES = 53, 12
A, CNAME, AAAA = 1, 5, 28
QUESTION = b"\xc0\x0c"  # a pointer to the question's name


def wire(name: str) -> bytes:
    """Return a name in wire format."""
    labels = name.encode("latin-1").split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels if label) + b"\0"


def record(owner: bytes, kind: int, data: bytes, ttl: int = 300) -> bytes:
    """Return a resource record."""
    return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def address(text: str, owner: bytes = QUESTION, ttl: int = 300) -> bytes:
    """Return an A or AAAA record."""
    if ":" in text:
        return record(owner, AAAA, socket.inet_pton(socket.AF_INET6, text), ttl)
    return record(owner, A, socket.inet_pton(socket.AF_INET, text), ttl)


def message(
    query: bytes, records: list[bytes], *, flags: int = 0x8180, counts: tuple[int, ...] = ()
) -> bytes:
    """Return the answer to a query."""
    number, question = query[:2], query[12 : _end_of_question(query)]
    questions, answers = counts or (1, len(records))
    header = number + struct.pack(">HHHHH", flags, questions, answers, 0, 0)
    return header + question + b"".join(records)


def asked(query: bytes) -> tuple[bytes, int]:
    """Return the name (wire format, in lower case) and the type that a query asks for."""
    end = _end_of_question(query)
    return query[12 : end - 4].lower(), struct.unpack(">H", query[end - 4 : end - 2])[0]


def _end_of_question(query: bytes) -> int:
    return query.index(b"\0", 12) + 5


class NameServer:
    """Answers on port 53 of the server's namespace with what `zone` says of a name.

    Over UDP on both its addresses, and over TCP: the socket of IPv6 serves both families.
    """

    def __init__(self, namespace: str) -> None:
        self.zone: dict[bytes, Answer] = {}
        self._socket = call_in(namespace, _bound)
        self._listener = call_in(namespace, _listening)
        self._threads = [
            threading.Thread(target=serve, daemon=True) for serve in (self._serve, self._serve_tcp)
        ]
        for thread in self._threads:
            thread.start()

    def has(self, name: str, *addresses: str, ttl: int = 300) -> None:
        """Let a name have addresses."""
        self.zone[wire(name).lower()] = lambda query, kind: message(
            query,
            [address(a, ttl=ttl) for a in addresses if (":" in a) == (kind == AAAA)],
        )

    def answers(self, name: str, answer: Answer) -> None:
        """Let a name be answered by a function of the query and its type."""
        self.zone[wire(name).lower()] = answer

    def close(self) -> None:
        """Stop answering."""
        self._socket.sendto(b"", self._socket.getsockname())  # what is no query ends it
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if len(query) < HEADER_BYTES:
                return
            self._socket.sendto(self._answer(query), client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was shut down
                return
            with client:
                client.settimeout(60)
                while size := client.recv(2, socket.MSG_WAITALL):
                    query = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                    answer = self._answer(query)
                    client.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, query: bytes) -> bytes:
        name, kind = asked(query)
        answer = self.zone.get(name)
        return answer(query, kind) if answer else message(query, [], flags=0x8183)


def _bound() -> socket.socket:
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::", DNS_PORT))
    return server


def _listening() -> socket.socket:
    return socket.create_server(("::", DNS_PORT), family=socket.AF_INET6, dualstack_ipv6=True)


@contextlib.contextmanager
def resolver(namespace: str) -> Iterator[Callable[..., None]]:
    """Let programs that `ip netns exec` starts in a namespace ask the name server.

    What is given says of which address, and with which options (resolv.conf).
    """
    directory = Path("/etc/netns", namespace)
    directory.mkdir(parents=True)

    def ask(server: str, options: str = "") -> None:
        text = f"nameserver {server}\noptions timeout:30 attempts:1 {options}\n"
        (directory / "resolv.conf").write_text(text)

    try:
        ask(SERVER)
        yield ask
    finally:
        (directory / "resolv.conf").unlink()
        directory.rmdir()
