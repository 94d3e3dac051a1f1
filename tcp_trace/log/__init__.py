"""What is written: the log and its lines, and what commands say to people."""
