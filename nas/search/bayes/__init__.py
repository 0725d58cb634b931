"""Bayesian optimisation, on BoTorch's Gaussian processes (extra ``lab``)."""
