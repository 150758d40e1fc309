"""Finished Poisson log-normal fits: what they predict, how well, and whether the model holds.

What may enter: answers from the estimates of a fit, for its own samples or new ones.
Never: how the estimates were found.
"""
