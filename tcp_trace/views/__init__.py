"""What is shown as a table."""
