"""A Debian system of our own in QEMU: kernels to test on that allow kprobes, as users have them."""
