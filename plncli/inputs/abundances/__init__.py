"""Tables of counts: what is a count, which are fitted, and the size factors that they tell.

What may enter: what is true of counts before any model.
Never: covariates, or where a table was read from.
"""
