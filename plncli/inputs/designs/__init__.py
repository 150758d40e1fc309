"""Designs: what columns of covariates are, the matrix that a formula makes of them, and what is wrong with it.

What may enter: a formula that was taken apart, and columns of the samples that are used. Never: files, or the response.
"""
