"""Output: the log and its lines, and the text of commands."""
