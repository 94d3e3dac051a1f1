"""What nobody wants to be told of: the matching, which is pure, and the file beside it."""
