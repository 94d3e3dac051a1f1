"""Tests of tcp_trace.core."""
