"""Poisson log-normal PCA: a latent layer of low rank, with a full posterior covariance for each sample.

What may enter: what is of this model alone. Never: files, options of verbs.
"""
