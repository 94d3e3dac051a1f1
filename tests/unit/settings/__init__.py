"""Unit tests of tcp_trace/settings."""
