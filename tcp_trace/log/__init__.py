"""Output: the log, and the text of commands."""
