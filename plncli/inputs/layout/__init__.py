"""Tables of counts as programs write them: which way round they are, and what they hold besides counts.

What may enter: a convention by which a program marks what is no sample, no feature, or no count.
Never: what is said of counts themselves.
"""
