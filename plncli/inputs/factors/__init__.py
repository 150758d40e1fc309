"""Factors of a formula: what is chosen of them before they become columns of a design.

What may enter: levels, codings and references of factors, as data and as formulas write them.
Never: numbers of a design matrix, or a table.
"""
