"""Unit tests of tcp_trace/commands."""
