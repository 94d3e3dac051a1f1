"""Unit tests of tcp_trace/incidents."""
