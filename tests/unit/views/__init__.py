"""Unit tests of tcp_trace/views."""
