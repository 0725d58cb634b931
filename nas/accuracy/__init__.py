"""Accuracy of architectures: predicted by a published or a fitted model, or really evaluated."""
