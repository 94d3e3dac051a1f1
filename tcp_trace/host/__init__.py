"""Processes, users, files and host names, read from this host."""
