"""Tables on disk, and nothing of what they mean: text, Arrow, sparse matrices, formats, writing, conversion.

What may enter: a format with its reader or writer, and what keeps a file whole.
Never: samples, counts, models, or a fit.
"""
