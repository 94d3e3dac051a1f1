"""The loop that wires it all; metrics, audit, systemd."""
