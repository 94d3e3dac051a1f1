"""Silences and maintenance windows: the matching, which is pure, and the silences' file."""
