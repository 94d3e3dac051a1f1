"""The plain design, for comparison: what one would write first, from BCC's tutorial.

A kprobe on tcp_set_state submits every transition; Python keeps a dict of the sockets that
connect. SYN_SENT adds, ESTABLISHED removes, CLOSE judges; a failure is logged and posted to the
webhook at once. Nothing is done to make it slow, and nothing to make it fast.

    SLACK_URL=http://127.0.0.1:8080/ LOG_FILE=/tmp/plain.log /usr/bin/python3 benchmarks/plain.py
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from typing import Any

import requests
from bcc import BPF

PROGRAM = r"""
#include <uapi/linux/ptrace.h>
#include <net/sock.h>
#include <bcc/proto.h>

struct event {
    u64 skaddr;
    u64 saddr[2];
    u64 daddr[2];
    u32 pid;
    u16 family;
    u16 lport;
    u16 dport;
    u8 oldstate;
    u8 newstate;
    char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(events);

int on_tcp_set_state(struct pt_regs *ctx, struct sock *sk, int state)
{
    struct event event = {};
    u16 dport = sk->__sk_common.skc_dport;

    event.skaddr = (u64)sk;
    event.pid = bpf_get_current_pid_tgid() >> 32;
    event.family = sk->__sk_common.skc_family;
    event.lport = sk->__sk_common.skc_num;
    event.dport = ntohs(dport);
    event.oldstate = sk->__sk_common.skc_state;
    event.newstate = state;
    if (event.family == AF_INET) {
        bpf_probe_read_kernel(&event.saddr, sizeof(u32), &sk->__sk_common.skc_rcv_saddr);
        bpf_probe_read_kernel(&event.daddr, sizeof(u32), &sk->__sk_common.skc_daddr);
    } else {
        bpf_probe_read_kernel(&event.saddr, sizeof(event.saddr),
                              sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
        bpf_probe_read_kernel(&event.daddr, sizeof(event.daddr),
                              sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32);
    }
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    events.perf_submit(ctx, &event, sizeof(event));
    return 0;
}
"""

ESTABLISHED, SYN_SENT, CLOSE = 1, 2, 7

log = logging.getLogger("plain")


def main() -> None:
    """Watch until interrupted."""
    logging.basicConfig(
        filename=os.environ.get("LOG_FILE"), level=logging.INFO, format="%(asctime)s %(message)s"
    )
    webhook = os.environ["SLACK_URL"]
    connecting: dict[int, Any] = {}
    bpf = BPF(text=PROGRAM)
    bpf.attach_kprobe(event="tcp_set_state", fn_name="on_tcp_set_state")

    def on_event(_cpu: int, data: int, _size: int) -> None:
        event = bpf["events"].event(data)
        if event.newstate == SYN_SENT:
            connecting[event.skaddr] = event
        elif event.newstate == ESTABLISHED:
            connecting.pop(event.skaddr, None)
        elif event.newstate == CLOSE and connecting.pop(event.skaddr, None):
            report(webhook, event)

    bpf["events"].open_perf_buffer(on_event)
    print("ready", flush=True)
    while True:
        bpf.perf_buffer_poll()


def report(webhook: str, event: Any) -> None:  # noqa: ANN401 - made by bcc
    """Log a failed connect and tell the webhook."""
    if event.family == socket.AF_INET:
        address = socket.inet_ntop(socket.AF_INET, struct.pack("I", event.daddr[0]))
    else:
        address = socket.inet_ntop(socket.AF_INET6, bytes(event.daddr))
    comm = event.comm.decode(errors="replace")
    text = f"connect to {address} port {event.dport} failed: {comm} (pid {event.pid})"
    log.warning(text)
    try:
        requests.post(webhook, json={"text": text}, timeout=5)
    except requests.RequestException as error:
        log.warning("webhook: %s", type(error).__name__)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
