"""Supernets: weight-sharing networks that hold every subnet of a space. Everything here needs torch."""
