"""What covariates change: coefficients and contrasts of one response, of some, and of all at once.

What may enter: kinds that show estimates of coefficients, or what follows from them. Never: latent values.
"""
