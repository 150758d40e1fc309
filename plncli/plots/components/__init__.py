"""Components of the latent layer: where samples lie on them, and which features make them.

What may enter: kinds that show scores, loadings, or what follows from them. Never: coefficients of covariates.
"""
