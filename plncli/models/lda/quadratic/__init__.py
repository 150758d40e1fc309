"""Quadratic discriminant analysis: each group is a Poisson log-normal model of its own, covariance and all.

What may enter: how the models of the groups make one fit, and what that answers by the group of a sample.
Never: the model of a group, which is `models.pln`'s, and which group a sample is of, told as by the linear one (`lda`).
"""
