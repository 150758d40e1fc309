"""Groups of samples: which group new samples are of, and how well a fit tells groups apart.

What may enter: the order of the work on groups, and the sentences about them.
Never: probabilities of groups, which are the model's, and folds, which are `evaluation`'s.
"""
