"""What this kernel can do, found out by trying."""

from __future__ import annotations

from tcp_trace.kernel.btf import BtfError, libbpf

# enum bpf_prog_type of include/uapi/linux/bpf.h
_TRACING = 26


def has_trampolines() -> bool:
    """Tell whether programs can be attached to functions returning (BPF trampolines).

    A kernel that has them may still refuse such programs, to a sandbox for example, so one is
    tried. It is refused to whoever may load no programs at all, too.
    """
    try:
        probe = libbpf().libbpf_probe_bpf_prog_type
    except BtfError:
        return False
    except AttributeError:  # libbpf before 0.6
        return True
    return bool(probe(_TRACING, None) > 0)
