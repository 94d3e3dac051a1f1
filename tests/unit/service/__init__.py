"""Unit tests of tcp_trace/service."""
