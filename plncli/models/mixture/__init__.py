"""Mixtures of Poisson log-normal models: clusters of samples, each with a mean and a covariance of its own.

What may enter: the bound of a mixture, where its search begins, and what is made of the clusters of a finished fit.
Never: the model of a single cluster, which is that of `models.pln`.
"""
