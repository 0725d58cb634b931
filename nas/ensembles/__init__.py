"""Ensembles of subnets that are trained already: predictions, votes, and who forms the best ones.

Source: OFA³, Ito, Da Silva & Von Zuben 2024.
"""
