"""Unit tests of tcp_trace/log."""
