"""Cost models: from readings to the cost of any architecture of a space."""
