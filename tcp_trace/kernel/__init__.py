"""From the kernel to a Transition: layout, program, hand-over, stream."""
