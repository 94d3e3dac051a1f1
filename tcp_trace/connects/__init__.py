"""Outcomes of connects. Pure: no I/O, no clock; the time is an argument."""
