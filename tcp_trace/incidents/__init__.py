"""What fails becomes few, calm messages: pure, no I/O and no clock."""
