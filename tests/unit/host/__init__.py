"""Unit tests of tcp_trace/host."""
