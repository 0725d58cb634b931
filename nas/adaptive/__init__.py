"""Adaptive networks: small ones answer what is easy, larger ones what they leave.

A *cascade* is a row of networks with a threshold between each and the next: an image is answered by the first network
whose score margin reaches its threshold, or by the last. Source: Stamoulis 2020, chapter 4.
"""
