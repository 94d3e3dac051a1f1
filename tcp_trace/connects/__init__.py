"""Outcomes of connects: pure, no I/O and no clock; the present is passed in."""
