"""The probes: a module each, with the C in bpf/. The registry lists them."""
