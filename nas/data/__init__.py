"""Data sets that supernets are trained on and accuracies are measured with."""
