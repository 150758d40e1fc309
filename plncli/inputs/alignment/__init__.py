"""Names that say which rows of two tables are one sample, and what to do where they do not.

What may enter: hints for names that are nearly the same, and rows matched without names.
Never: a match that the user did not ask for.
"""
