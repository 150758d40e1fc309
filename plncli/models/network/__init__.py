"""The network: a Poisson log-normal model with a sparse precision, by an l1 penalty.

What may enter: the sparse structure of the latent layer, what it declares, and what a fit of it answers besides.
Never: emissions, means and boundaries, which are those of `models.pln`.
"""
