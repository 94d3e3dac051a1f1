"""Two programs that do nothing, on the hooks of this service: what any tool on them costs at least.

    python3 -m benchmarks.idle [kprobe | tracepoint]

Prints `ready` when both are attached, and keeps them until it is ended.
"""

from __future__ import annotations

import signal
import sys

import bcc

_PROGRAMS = """
int hook(void *ctx) { return 0; }
int net(void *ctx) { return 0; }
"""


def attach(bpf: bcc.BPF, name: bytes) -> None:
    """Attach a program to the tracepoint; BCC itself allows one there."""
    function = bpf.load_func(name, bcc.BPF.RAW_TRACEPOINT)
    if bcc.lib.bpf_attach_raw_tracepoint(function.fd, b"inet_sock_set_state") < 0:
        raise OSError("the tracepoint inet_sock_set_state is not there")


if __name__ == "__main__":
    attached = bcc.BPF(text=_PROGRAMS)
    if sys.argv[1:] == ["tracepoint"]:
        attach(attached, b"hook")
    else:
        attached.attach_kprobe(event=b"tcp_set_state", fn_name=b"hook")
    attach(attached, b"net")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print("ready", flush=True)
    signal.pause()
