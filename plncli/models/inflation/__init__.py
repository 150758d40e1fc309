"""Zero inflation: counts that are 0 whatever the latent layer says. It is a matter of cells, of whatever model.

What may enter: cells, nodes of quadrature, where probabilities live, and when they are exactly 0.
Never: a latent structure, an optimizer, or a model.
"""
