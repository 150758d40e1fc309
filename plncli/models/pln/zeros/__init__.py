"""Structural zeros of the Poisson log-normal model: their cells, where they begin, and when a probability is 0.

What may enter: what of `models.inflation` depends on this model's latent layer.
Never: what any model with zero inflation would do alike.
"""
