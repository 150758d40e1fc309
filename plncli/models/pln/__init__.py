"""The Poisson log-normal model: an emission, a latent structure and a mean, and its boundaries.

What may enter: what is true of counts with a Gaussian latent layer.
Never: an optimizer, a file, or a sentence that another model would say too.
"""
