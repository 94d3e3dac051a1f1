"""Tests: unit and property anywhere, kernel on this host, vm in a machine of their own."""
