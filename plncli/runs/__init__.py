"""Runs: a fit on disk: its folder, model file, checkpoints, journal of resamples, schemas; and fits read back.

What may enter: what is kept of a fit, and how it is found again, compared, repeated or gone on from.
Never: how a model is fitted, or what a verb prints.
"""
