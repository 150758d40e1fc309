"""Inference: criteria, Wald tests and hypotheses, resampling and the processes that share its fits.

What may enter: what holds of an estimate and its covariance, whichever model it came from.
Never: how an estimate was found, or where it is written.
"""
