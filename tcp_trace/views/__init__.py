"""Live views and tables."""
