"""Groups of samples: where they lie on discriminant axes, what these are, and how held-out samples are classified.

What may enter: contents of a fit that tells groups apart, and drawings that only such fits have.
Never: probabilities of groups, which are the fit's.
"""
