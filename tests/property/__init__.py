"""What holds for every input, found out by random ones."""
