"""Tests of tcp_trace.delivery."""
