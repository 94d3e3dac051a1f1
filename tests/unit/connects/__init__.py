"""Unit tests of tcp_trace/connects."""
