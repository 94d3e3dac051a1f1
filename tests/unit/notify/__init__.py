"""Unit tests of tcp_trace/notify."""
