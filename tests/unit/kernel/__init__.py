"""The edge at which bytes of the kernel are decoded."""
