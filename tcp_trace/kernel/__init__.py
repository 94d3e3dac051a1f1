"""The plumbing between the kernel and a probe: compile, attach, hand over, read. Knows no probe."""
