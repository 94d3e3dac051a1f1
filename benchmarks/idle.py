"""Two programs that do nothing, on the hooks of this service: what any tool on them costs at least.

    python3 -m benchmarks.idle

Prints `ready` when both are attached, and keeps them until it is ended.
"""

from __future__ import annotations

import signal

from bcc import BPF

_PROGRAMS = """
int kprobe__tcp_set_state(void *ctx) { return 0; }
RAW_TRACEPOINT_PROBE(inet_sock_set_state) { return 0; }
"""

if __name__ == "__main__":
    attached = BPF(text=_PROGRAMS)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print("ready", flush=True)
    signal.pause()
