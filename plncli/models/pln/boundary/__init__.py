"""The boundary Sigma_jj = 0: features without extra-Poisson variance, as Poisson regressions beside the latent layer.

What may enter: which features are there, what they are fitted by, and the score that takes them back.
Never: the solver, or what a fit answers.
"""
