"""Preconditioner of the profiled ELBO: what features, samples and variances know of its curvature, put together.

What may enter: approximate inverses of parts of the Hessian, positive definite, at one evaluation.
Never: an optimizer, or what an emission or a structure is beyond what it answers.
"""
