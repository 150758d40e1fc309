"""What is kept of a fit while it is not done: the state of its optimizer, and pieces of resampling that are done.

What may enter: how that is written, found again, and held to the fit that it is of. Never: what a finished fit leaves.
"""
