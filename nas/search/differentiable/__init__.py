"""Searches that follow gradients: one training of a supernet, from which an architecture is read off."""
