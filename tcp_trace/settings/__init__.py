"""The configuration: variables, their values, and the files that they name."""
