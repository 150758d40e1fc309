"""The Poisson log-normal model whose mean is a network.

What may enter: what a network in the mean changes of this model. Never: the network itself, which all models share.
"""
