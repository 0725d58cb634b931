"""Search spaces, supernets, accuracy and searchers."""
