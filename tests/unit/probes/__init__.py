"""What the kernel is asked, and how its answers are read."""
