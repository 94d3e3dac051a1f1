"""The loop that wires it all, and what tells how it is."""
