"""Numerics: linear algebra, likelihoods, distributions, separation, size factors, and sums over samples (`rows`).

What may enter: tensors in, tensors or small frozen records out; a source for each method.
Never: a model, an optimizer, a file, or a name that a user typed.
"""
