"""Discriminant analysis: a Poisson log-normal model with groups, their axes, and which group a sample is of.

What may enter: what groups add to `models.pln`: their axes, posterior probabilities, what tells how well they do.
Never: the fit itself, which is that of `models.pln`, and folds of samples, which are `evaluation`'s.
"""
