"""Linear and logistic regression, by maximum likelihood.

What may enter: what is true of responses that are independent given the covariates, or whose errors are correlated.
Never: an optimizer, a file, or a latent layer.
"""
