"""Structs and numbers shared with the C in bpf/."""

from __future__ import annotations

from tcp_trace.kernel.gate import GATE
from tcp_trace.kernel.shapes import Shape

__all__ = ["GATE"]

LATENCY_SLOTS = 32
RIVALS = 8
CGROUP_LEVELS = 8
CGROUP_NAME = 256
HELD_SLOT_BITS = 30
EXECS = 32_768
NAME_BYTES = 128
NAME_MARKS = 65_536
NAME_MARKS_DOUBT = 2
NAME_HASH = 0x9E3779B97F4A7C15
NAME_SERVERS_MAX = 64
FLAG_RETURNS, FLAG_RACED, FLAG_UNSENT = 1, 2, 4

MAKER = Shape(
    "maker",
    cgroup_id="Q",
    born_ns="Q",
    pid="I",
    is_foreign="I",
    uid="I",
    netns="I",
    comm="16s",
    thread="16s",
)
DESTINATION = Shape("destination", daddr="16s", netns="II", ifindex="I", dport="H", pad="H")
TRANSITION = Shape(
    "transition",
    start_ns="Q",
    timestamp_ns="Q",
    maker=MAKER,
    destination=DESTINATION,
    saddr="16s",
    sk_err="i",
    sk_err_soft="i",
    syns="H",
    flags="H",
    lport="H",
    oldstate="B",
    newstate="B",
    start_cpu="I",
    pad="I",
)
COUNTERS = Shape(
    "counters",
    established="Q",
    failed="Q",
    last_established_ns="Q",
    latency_ns="Q",
)
LATENCY = Shape("latency", sum_ns="Q", log2_us=f"{LATENCY_SLOTS}Q")
WATCH_KEY = Shape("watch_key", prefixlen="I", dport="4s", daddr="16s")
RACER = Shape("racer", pid="I", netns="I", dport="H", pad="H")
RIVAL = Shape("rival", daddr="16s", start_ns="Q", established_ns="Q", outlived_ns="2Q")
CGROUP_PATH = Shape(
    "cgroup_path", owner="Q", names=f"{CGROUP_NAME}s" * CGROUP_LEVELS, root="I", pad="I"
)
HELD_KEY = Shape(
    "held_key",
    destination=DESTINATION,
    cgroup_id="Q",
    uid="I",
    slot="I",
    error="i",
    flags="H",
    newstate="B",
    sent="B",
)
HELD = Shape("held", failures="Q", last_ns="Q", first=TRANSITION)
PROGRESS = Shape("progress", ring="Q", logged_to="Q", next_to="Q", inode="Q", end="Q")
NAME_KEY = Shape("name_key", who="I", is_shared="I", netns="II", address="16s")
NAME = Shape(
    "name",
    since_ns="Q",
    seen_ns="Q",
    until_ns="Q",
    other_ns="Q",
    born_ns="Q",
    ttl="I",
    is_sure="I",
    name=f"{NAME_BYTES}s",
)
NAME_SERVER = Shape("name_server", address="16s", scope_id="I")

# Keys and values that are plain numbers.
NUMBER = Shape("u32", value="I")
LONG = Shape("u64", value="Q")
