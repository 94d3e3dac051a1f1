"""What became of a connect: pure, no I/O and no clock; the present is passed in."""
