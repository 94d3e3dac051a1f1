"""What the kernel is asked: a module per probe, beside its C in bpf/. The registry lists them."""
