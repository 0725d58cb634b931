"""The search spaces, one a file."""
