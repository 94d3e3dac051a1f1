"""Unit tests of tcp_trace/silences."""
