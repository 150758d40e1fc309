"""Inputs: from tables to a `Dataset`: located, aligned by name, checked, selected, encoded by a formula.

What may enter: what a table must be to be fitted, and what is said of one that is not.
Never: formats of files, and what a model makes of the data.
"""
