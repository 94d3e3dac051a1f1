"""A webhook on loopback that keeps received payloads: for the demo and for tests."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import secrets
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEBHOOK_SECONDS = 30.0
_PAYLOAD_SIZE = r"[0-9]{1,6}"  # in bytes: below 1 MB


@contextlib.contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a webhook on loopback; yield its URL and the list that fills with payloads.

    Every process on the host can connect to it, and it runs in root's process. So it accepts only
    requests with the secret path, and reads no more than the service would send.
    """
    payloads: list[dict[str, Any]] = []
    path = f"/services/{secrets.token_hex(16)}"

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = _WEBHOOK_SECONDS

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            is_ours = secrets.compare_digest(self.path.encode(), path.encode())
            if not is_ours or not re.fullmatch(_PAYLOAD_SIZE, size):
                self.send_error(404)
                return
            payloads.append(json.loads(self.rfile.read(int(size))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}{path}", payloads
        httpd.shutdown()
