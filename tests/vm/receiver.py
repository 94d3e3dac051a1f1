"""Runs inside the machine: takes the place of Slack and writes each request to a file.

    receiver.py PORT RECORD MODE

RECORD gets a JSON line for each request: `at` (seconds since the epoch), `path` and `payload`. The
file MODE holds what to answer: a status, or `hang` for taking the request and saying nothing.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from pathlib import Path

_HANG_SECONDS = 600.0


class _Handler(http.server.BaseHTTPRequestHandler):
    record: Path
    mode: Path
    lock = threading.Lock()

    def do_POST(self) -> None:
        at = time.time()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        line = json.dumps({"at": at, "path": self.path, "payload": json.loads(body)})
        with self.lock, self.record.open("a") as file:
            file.write(line + "\n")
        mode = self.mode.read_text().strip()
        if mode == "hang":
            time.sleep(_HANG_SECONDS)
            return
        self.send_response(int(mode))
        self.end_headers()
        self.wfile.write(b"ok" if mode == "200" else b"no_service")

    def do_GET(self) -> None:
        """Answer what `tcp-trace check` asks."""
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(port: str, record: str, mode: str) -> None:
    """Serve until killed."""
    _Handler.record, _Handler.mode = Path(record), Path(mode)
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler) as httpd:
        httpd.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
