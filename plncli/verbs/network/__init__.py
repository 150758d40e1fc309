"""Networks of features: how well their edges are those that are known to be true.

What may enter: the order of the work on networks, and the sentences about them.
Never: what is true, or how edges are judged, which are `runs.network`'s and `evaluation`'s.
"""
